"""Definitions of cues: every fault is one line that names it."""

from __future__ import annotations

from typing import Any

import pytest

from echat_eval.errors import BadData
from echat_eval.labels import SHIPPED, label_of
from echat_eval.labels.declared import (
    cues_of,
    declaration_faults,
    declared_cues,
    merged_cues,
    stored_cues,
    stored_from,
)
from echat_eval.labels.definition import definition_faults

LABELS = ["sincere", "sarcastic"]


def defined(**more: Any) -> Any:
    return {"sarcasm": {"labels": LABELS, **more}}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"sarcasm": None}, "cue 'sarcasm' has no labels; expected sarcasm: {labels: [one, another]}"),
        ({"sarcasm": {}}, "cue 'sarcasm': no labels"),
        ({"sarcasm": {"labels": []}}, "cue 'sarcasm': no labels"),
        ({"sarcasm": {"labels": "x"}}, "cue 'sarcasm': 'labels' is 'x', expected a list of labels"),
        ({"sarcasm": {"labels": ["a", "a"]}}, "cue 'sarcasm': label 'a' twice"),
        ({"sarcasm": {"labels": ["a"]}}, "one label, 'a'; expected at least two"),
        ({"sarcasm": {"labels": ["a"], "ordinal": True}}, "expected at least two: an ordinal cue has steps"),
        ({"sarcasm": {"labels": [True, "no"]}}, "label True is no text; write it in quotes"),
        ({"sarcasm": {"labels": ["Sincere", "b"]}}, "label 'Sincere': write 'sincere'"),
        ({"sarcasm": {"labels": ["a, b", "c"]}}, "expected at most 60 printable characters"),
        ({"sarcasm": {"labels": ["unknown", "c"]}}, "label 'unknown' has another meaning here"),
        (defined(ordinal="yes"), "'ordinal' is 'yes', expected true or false"),
        (defined(colour="red"), "unknown key 'colour'"),
        (
            defined(aliases={"ironic": "ironic"}),
            "alias 'ironic' is of 'ironic', which is none of sincere, sarc",
        ),
        (
            defined(aliases={"sincere": "sarcastic"}),
            "alias 'sincere' stands for 'sincere' and for 'sarcastic'",
        ),
        (defined(aliases={"Dry": "sincere", "dry": "sarcastic"}), "alias 'dry' stands for 'sincere' and for"),
        (defined(aliases={"sincere": "sincere"}), "alias 'sincere' is the label itself; leave it out"),
        (
            defined(words={"de": {"sincere": "ernst", "sarcastic": "Ernst"}}),
            "stands for 'sincere' and for 'sarc",
        ),
        (defined(words={"de": {"dry": "trocken"}}), "words in de: 'trocken' is of 'dry', which is none of"),
        (defined(names={"german": "Ironie"}), "names: 'german' is no language, expected a BCP 47 tag"),
        (defined(guides={"en": 3}), "guides in en: 3, expected a text"),
        ({"voice": {"labels": LABELS}}, "cue 'voice' has a reserved name; choose another, such as my-voice"),
        ({"transcript": {"labels": LABELS}}, "cue 'transcript' has a reserved name"),
        ({"Sarcasm!": {"labels": LABELS}}, "cue 'Sarcasm!': expected lower-case letters, digits"),
        ({"emotion": {"labels": LABELS}}, "cue 'emotion' is a shipped one, so its labels cannot change"),
        (
            ["sarcasm"],
            "unknown cue 'sarcasm'; the shipped cues are emotion, age, gender, event. Define it: cues:",
        ),
        (["emotio"], "unknown cue 'emotio'; the shipped cues are emotion, age, gender, event. Did you mean"),
        (["age", "age"], "cue 'age' twice"),
        ([["age"]], "'cues' has ['age'], expected a list of cues"),
        ("age", "'cues' is 'age', expected a list of cues"),
    ],
)
def test_every_fault_is_one_line(value: Any, expected: str) -> None:
    faults = list(declaration_faults(value))
    assert len(faults) == 1, faults
    assert expected in faults[0]
    assert "\n" not in faults[0]


def test_a_definition_without_faults_names_its_labels_in_every_spelling() -> None:
    value = defined(
        aliases={"Ironic": "sarcastic", "unsure": "unknown"}, words={"deu": {"sarcastic": "Spott"}}
    )
    assert not list(declaration_faults(value))
    names, own = declared_cues(value)
    assert names == ("sarcasm",)
    assert own is not None
    cue = own["sarcasm"]
    spellings = ("<SARCASTIC>", "ironic", "spott", "Unsure", "sincere", "dry")
    assert [label_of(cue, spelling) for spelling in spellings] == [
        "sarcastic", "sarcastic", "sarcastic", "unknown", "sincere", None,
    ]  # fmt: skip
    assert list(cue.words) == ["de"]


def test_a_shipped_cue_takes_further_wording_and_keeps_its_labels() -> None:
    names, own = declared_cues({"emotion": {"words": {"de": {"sad": "traurig"}}}, "age": None})
    assert names == ("emotion", "age")
    assert own is not None
    assert list(own) == ["emotion"]
    assert own["emotion"].labels == SHIPPED["emotion"].labels
    assert label_of(own["emotion"], "Traurig") == "sad" == label_of(own["emotion"], "sadness")
    assert label_of(SHIPPED["emotion"], "traurig") is None
    fault = "words in de: 'joy' stands for 'happy' and for 'sad'"
    assert fault in "".join(declaration_faults({"emotion": {"words": {"de": {"sad": "joy"}}}}))


def test_two_tasks_with_one_cue_must_agree_on_its_labels() -> None:
    one, other = (
        declared_cues({"mood": {"labels": labels}})[1] for labels in (["up", "down"], ["down", "up"])
    )
    _, worded = declared_cues({"mood": {"labels": ["up", "down"], "names": {"de": "Laune"}}})
    assert list(merged_cues([("a", one), ("b", worded), ("c", None)]))[-1] == "mood"
    expected = (
        "tasks 'a' and 'b' define the cue 'mood' differently (up, down; down, up); rename one of the two cues, "
        "or run the tasks apart"
    )
    with pytest.raises(BadData) as error:
        merged_cues([("a", one), ("b", other)])
    assert str(error.value) == expected
    assert cues_of([]) is SHIPPED


def test_stored_definitions_are_read_back_equal() -> None:
    _, own = declared_cues(
        {
            "sarcasm": {"labels": LABELS, "ordinal": True, "guides": {"en": "x"}},
            "age": {"names": {"de": "Alter"}},
        }
    )
    assert own is not None
    assert stored_from(stored_cues(own)) == own
    assert stored_from(stored_cues(own)) is stored_from(stored_cues(own))
    with pytest.raises(BadData, match="own_cues: cue 'sarcasm': no labels"):
        stored_from({"sarcasm": {"labels": []}})
    with pytest.raises(BadData, match="own_cues is 3"):
        stored_from(3)


def test_shipped_cues_have_the_form() -> None:
    for name, value in stored_cues(SHIPPED).items():
        assert not list(definition_faults(name, value))
