"""Floors that name the gold labels and are no help: they react to the voice, and their replies are no good.

A match rate or a contrast above chance shows that a system reacts to the voice. These two do so perfectly, so
their numbers show what reacting alone is worth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from echat_eval.errors import NotApplicable
from echat_eval.languages import base_of, lookup
from echat_eval.records import Reply

if TYPE_CHECKING:
    from collections.abc import Mapping

    from echat_eval.records import Sample

__all__ = ["LabelParrot", "WrongLanguage"]

SENTENCES: dict[str, str] = {
    "en": "You sound {labels}.",
    "zh": "你听起来是:{labels}。",
    "ja": "あなたの声から聞こえるのは{labels}です。",
}
#: Labels as Chinese and Japanese sentences name them.
WORDS: dict[str, dict[str, str]] = {
    "zh": {
        "anger": "生气", "disgust": "厌恶", "fear": "害怕", "happy": "开心", "neutral": "平静",
        "sad": "难过", "surprise": "惊讶", "other": "其他", "child": "小孩", "adult": "成年人",
        "old": "老人", "female": "女性", "male": "男性", "laugh": "笑声", "cough": "咳嗽",
        "cry": "哭声", "scream": "尖叫", "sigh": "叹气", "throat clearing": "清嗓子", "sneeze": "喷嚏",
        "none": "无",
    },
    "ja": {
        "anger": "怒り", "disgust": "嫌悪", "fear": "恐れ", "happy": "喜び", "neutral": "平静",
        "sad": "悲しみ", "surprise": "驚き", "other": "その他", "child": "子ども", "adult": "大人",
        "old": "お年寄り", "female": "女性", "male": "男性", "laugh": "笑い声", "cough": "せき",
        "cry": "泣き声", "scream": "叫び声", "sigh": "ため息", "throat clearing": "せき払い",
        "sneeze": "くしゃみ", "none": "言葉だけ",
    },
}  # fmt: skip
#: Language of a wrong reply to a query; in English to any other.
OTHER_LANGUAGE: dict[str, str] = {"en": "zh"}


class LabelParrot:
    """An oracle that replies "You sound {label}.", as text only.

    In other languages than those of `SENTENCES` it names the labels alone, in the words that the task's
    definition of the cue has for them.
    """

    role: Literal["floor", "ceiling"] = "floor"

    #: Answering is faster than a cache lookup.
    cached = False

    def __init__(self, name: str = "label-parrot") -> None:
        self.name = name

    def respond_to(self, sample: Sample) -> Reply:
        """Return the sentence with the sample's gold labels."""
        return Reply(text=_sentence(sample, sample.language))

    def fingerprint(self) -> str:
        """Return the version of the rule; the labels are part of the sample."""
        return "label-parrot-2"

    def settings(self) -> Mapping[str, Any]:
        """Return an empty mapping: there are no settings."""
        return {}


class WrongLanguage(LabelParrot):
    """An oracle that names the labels in a language that the speaker did not use, as text only."""

    def __init__(self, name: str = "wrong-language") -> None:
        super().__init__(name)

    def respond_to(self, sample: Sample) -> Reply:
        """Return the sentence in Chinese for English, and in English for any other language."""
        return Reply(text=_sentence(sample, OTHER_LANGUAGE.get(base_of(sample.language), "en")))

    def fingerprint(self) -> str:
        """Return the version of the rule; the labels are part of the sample."""
        return "wrong-language-1"


def _sentence(sample: Sample, language: str) -> str:
    words = {cue: _word(sample, cue, label, language) for cue, label in sorted(sample.cues.items())}
    known = lookup(language, SENTENCES)
    if known is None and all(words.values()):
        return ", ".join(str(word) for word in words.values()) + "."
    if known is None:
        raise NotApplicable(
            f"no sentence for language '{sample.language}', and its task has no words for the labels"
        )
    usual = WORDS.get(known, {})
    labels = [words[cue] or usual.get(label, label) for cue, label in sorted(sample.cues.items())]
    return SENTENCES[known].format(labels=(", " if known == "en" else "、").join(labels))


def _word(sample: Sample, cue: str, label: str, language: str) -> str | None:
    """Return the word for a label in a language, by the task's definition; None: it has none."""
    own = (sample.own_cues or {}).get(cue)
    tag = lookup(language, own.words) if own is not None else None
    return own.words[tag].get(label) if own is not None and tag is not None else None
