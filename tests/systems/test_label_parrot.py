"""Floors that name the labels: every label has a sentence in every bundled language."""

from __future__ import annotations

from dataclasses import replace

import pytest

from echat_eval.errors import NotApplicable
from echat_eval.labels import LABELS
from echat_eval.ports import role_of
from echat_eval.records import Cue
from echat_eval.systems import build_system
from echat_eval.systems.label_parrot import LabelParrot, WrongLanguage
from tests.support.cases import case


@pytest.mark.parametrize("language", ["en", "zh", "ja"])
def test_parrots_name_every_label_in_the_language_of_the_query_or_in_the_other_one(language: str) -> None:
    seen = set()
    for cue, labels in LABELS.items():
        for label in labels:
            sample = replace(case("a", None).sample, cues={cue: label}, language=language)
            own, other = (parrot.respond_to(sample).text or "" for parrot in (LabelParrot(), WrongLanguage()))
            assert own.isascii() is (language == "en") is not other.isascii()
            assert (label in own) is (language == "en")
            seen |= {own, other}
    # "other" is a label of emotions and of events.
    assert len(seen) == 2 * len({label for labels in LABELS.values() for label in labels})


def test_other_languages_need_words_of_the_labels_and_english_is_wrong_in_them() -> None:
    sample = replace(case("a", None).sample, language="fr-CA", cues={"sarcasm": "sarcastic"})
    with pytest.raises(NotApplicable, match="language 'fr-CA', and its task has no words for the labels"):
        LabelParrot().respond_to(sample)
    cue = Cue(name="sarcasm", labels=("sincere", "sarcastic"), words={"fr": {"sarcastic": "sarcastique"}})
    worded = replace(sample, own_cues={"sarcasm": cue})
    assert LabelParrot().respond_to(worded).text == "sarcastique."
    assert WrongLanguage().respond_to(worded).text == "You sound sarcastic."
    assert WrongLanguage().respond_to(replace(worded, language="en-GB")).text == "你听起来是:sarcastic。"


def test_both_are_floors_of_the_registry() -> None:
    for name in ("label-parrot", "wrong-language"):
        found = build_system(name)
        assert (found.name, role_of(found)) == (name, "floor")
