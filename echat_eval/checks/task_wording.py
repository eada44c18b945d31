"""Wording that people should read: references that name the label, and phrases that reduce people to it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from echat_eval.checks.task_finding import Finding
from echat_eval.labels import TRAITS
from echat_eval.languages import supports
from echat_eval.scorers.understanding import named_label

if TYPE_CHECKING:
    from echat_eval.checks.task_data import TaskData
    from echat_eval.records import Sample

__all__ = ["PHRASES", "phrases_in", "wording_findings"]

#: Language -> phrases, as regular expressions, that are often condescending or a stereotype of an age or a
#: gender. They may be right where they stand: people decide.
PHRASES: Mapping[str, tuple[str, ...]] = {
    "en": (
        r"at your age",
        r"(?:old|elderly) (?:folks?|dears?)",
        r"old (?:lady|man|woman)",
        r"grand(?:ma|pa|mother|father)",
        r"granny",
        r"gramps",
        r"young (?:lady|man)",
        r"little (?:lady|girl|boy|one)",
        r"(?:good|big) (?:girl|boy)",
        r"sweetie|sweetheart|honey|darling|missy|buddy|champ|kiddo",
        r"frail|senile|feeble",
        r"past your prime",
        r"for (?:a|an) (?:woman|man|girl|boy|old person)",
        r"man up",
        r"like a (?:man|girl|lady|real man)",
        r"boys (?:don'?t cry|will be boys)",
        r"hysterical|bossy|nagging|hormonal",
        r"that time of the month",
        r"your (?:husband|wife)",
        r"women (?:are|can'?t|always)|men (?:are|can'?t|always)",
        r"technology (?:is|can be) (?:hard|confusing)",
        r"ask (?:your )?(?:mummy|mommy|mom|mum|dad|daddy|parents)",
    ),
    "zh": (
        "这把年纪",
        "上了年纪",
        "年纪大了",
        "一大把年纪",
        "老人家",
        "老太太",
        "老头",
        "老糊涂",
        "爷爷|奶奶",
        "小姑娘|小妹妹|小弟弟",
        "小朋友|小宝贝|宝贝",
        "美女|帅哥",
        "男子汉",
        "像个(?:男人|女人)",
        "娘娘腔|女汉子",
        "男儿有泪",
        "女孩子家",
        "女司机",
        "头发长见识短",
        "更年期",
        "(?:你|您)(?:丈夫|老公|妻子|老婆)",
        "女人就|男人就",
        "叫(?:爸爸|妈妈|爸妈)来",
    ),
}


def phrases_in(text: str, language: str) -> list[str]:
    """Return the phrases of the list that a text has; none in a language without a list.

    >>> phrases_in("Well done, young lady!", "en"), phrases_in("您这把年纪了", "zh-CN")
    (['young lady'], ['这把年纪'])
    """
    found = []
    for tag, patterns in PHRASES.items():
        if supports([tag], language):
            joined = "|".join(patterns)
            bounded = rf"\b(?:{joined})\b" if tag == "en" else joined
            found += [match[0] for match in re.finditer(bounded, text, re.IGNORECASE)]
    return found


def wording_findings(data: TaskData) -> list[Finding]:
    """Return references that name the label, equal references, and phrases to read."""
    return [_named(data), _equal(data.samples), _phrases(data)]


def _named(data: TaskData) -> Finding:
    """Return references that name the label of the voice: that proves perception, not understanding."""
    found = {}
    for sample in data.samples:
        for reference in sample.references:
            for name in data.cues:
                label = sample.cues.get(name)
                if label is not None and named_label(data.known_cues[name], reference) == label:
                    found[sample.id] = f"a reference names the label {label}"
    return _finding(
        "named-label",
        found,
        f"{len(found)} of {len(data)} samples have a reference that names the label",
        "a reply shows that it understood by what it answers",
    )


def _equal(samples: Sequence[Sample]) -> Finding:
    """Return samples of a contrast group that have a reference in common although a reply should differ."""
    groups: dict[str, dict[str, Sample]] = {}
    found = {}
    for sample in samples:
        if sample.contrast_group is None or sample.expect == "same":
            continue
        known = groups.setdefault(sample.contrast_group, {})
        for reference in sample.references:
            other = known.setdefault(reference, sample)
            if other.id != sample.id:
                found[sample.id] = f"a reference of {other.id}, whose voice differs"
    return _finding(
        "equal-references",
        found,
        f"{len(found)} samples share a reference with another voice of their group",
        "write a reply that suits one voice only, or mark the group `expect: same`",
    )


def _phrases(data: TaskData) -> Finding:
    without = sorted({s.language for s in data.samples if not supports(PHRASES, s.language)})
    if len(without) == len({s.language for s in data.samples}):
        return Finding(
            check="phrases",
            section="wording",
            state="not checked",
            message=f"no list of phrases in {', '.join(without)}; the lists are English and Chinese",
        )
    found = {}
    for sample in data.samples:
        texts = (sample.transcript, *sample.references)
        if phrases := [phrase for text in texts for phrase in phrases_in(text, sample.language)]:
            found[sample.id] = ", ".join(f"'{phrase}'" for phrase in dict.fromkeys(phrases))
    finding = _finding(
        "phrases",
        found,
        f"{len(found)} of {len(data)} samples have a phrase that may reduce people to age or gender",
        f"read them, above all where the cue is {' or '.join(TRAITS)}",
    )
    if not without:
        return finding
    return Finding(
        check="phrases",
        section="wording",
        state=finding.state,
        message=f"{finding.message}; not checked in {', '.join(without)}",
        remedy=finding.remedy,
        samples=finding.samples,
    )


def _finding(check: str, found: Mapping[str, str], message: str, remedy: str) -> Finding:
    return Finding(
        check=check,
        section="wording",
        state="review" if found else "pass",
        message=message,
        remedy=remedy if found else "",
        samples=found,
    )
