"""Floors that name the labels: every label has a sentence in both languages."""

from __future__ import annotations

from dataclasses import replace

import pytest

from echat_eval.errors import NotApplicable
from echat_eval.labels import LABELS
from echat_eval.ports import role_of
from echat_eval.systems import build_system
from echat_eval.systems.label_parrot import LabelParrot, WrongLanguage
from tests.support.cases import case


@pytest.mark.parametrize("language", ["en", "zh"])
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


def test_a_query_in_another_language_is_not_applicable() -> None:
    sample = replace(case("a", None).sample, language="fr")
    for parrot in (LabelParrot(), WrongLanguage()):
        with pytest.raises(NotApplicable, match="language 'fr'"):
            parrot.respond_to(sample)


def test_both_are_floors_of_the_registry() -> None:
    for name in ("label-parrot", "wrong-language"):
        found = build_system(name)
        assert (found.name, role_of(found)) == (name, "floor")
