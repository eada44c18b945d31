"""Which metric leads a leaderboard and a comparison."""

from __future__ import annotations

from dataclasses import replace

import pytest

from echat_eval.errors import UnknownName
from echat_eval.records import Metric
from echat_eval.scorers.cue_contrast import CONTRAST, MATCH
from echat_eval.scorers.outcome import FAILED
from echat_eval.scorers.understanding import CER, UAR, WAR, WER
from echat_eval.store.headline import applicable_metrics, chosen_headline, headline_of
from echat_eval.store.manifest import RunManifest, RunSettings

WORDS = Metric(name="judge_text", title="Words", unit="points", low=0, high=100, higher_is_better=True)
VOICE = replace(WORDS, name="judge_text_voice")
JUDGED_CONTRAST = replace(CONTRAST, name="judge_text_cue_contrast", proxy=False)
JUDGED_MATCH = replace(MATCH, name="judge_text_match_rate", proxy=False)
OWN = replace(WORDS, name="warmth")
#: In the order of a run: those of the scorers first.
EVERY = (WER, CER, WAR, UAR, MATCH, CONTRAST, FAILED, WORDS, VOICE, JUDGED_CONTRAST, JUDGED_MATCH, OWN)


@pytest.mark.parametrize(
    ("applies", "leads"),
    [
        ({m.name for m in EVERY}, "judge_text_match_rate"),
        ({"judge_text", "judge_text_voice", "match_rate_proxy", "failed"}, "judge_text"),
        ({"match_rate_proxy", "cue_contrast_proxy", "judge_text_cue_contrast"}, "match_rate_proxy"),
        ({"judge_text_cue_contrast", "cue_contrast_proxy"}, "judge_text_cue_contrast"),
        ({"understanding_war", "understanding_uar", "failed"}, "understanding_war"),
        ({"failed", "warmth"}, "judge_text_match_rate"),  # nothing grades the replies: the cells are "-"
    ],
)
def test_the_best_applicable_metric_leads(applies: set[str], leads: str) -> None:
    assert headline_of(EVERY, {"a": applies}).name == leads


def test_a_metric_of_every_system_comes_before_a_better_one_of_some() -> None:
    applicable = {"judged": {"judge_text", "match_rate_proxy"}, "plain": {"match_rate_proxy"}}
    assert headline_of(EVERY, applicable).name == "match_rate_proxy"
    assert headline_of(EVERY, {"judged": {"judge_text"}, "plain": {"failed"}}).name == "judge_text"


def test_a_metric_that_its_scorer_declares_leads() -> None:
    declared = replace(OWN, headline=True)
    applies = {m.name for m in EVERY}
    assert headline_of((*EVERY[:-1], declared), {"a": applies}).name == "warmth"
    # Manifests of older versions declare the proxy, which comes after a judge's grade all the same.
    older = replace(MATCH, headline=True)
    assert headline_of((older, WORDS), {"a": applies}).name == "judge_text"


def test_without_a_known_metric_the_first_one_leads() -> None:
    assert headline_of((FAILED, OWN), {"a": {"warmth"}}) == FAILED


def test_a_choice_holds_and_an_unknown_one_is_refused() -> None:
    assert headline_of(EVERY, {"a": {"judge_text"}}, selected="failed") == FAILED
    with pytest.raises(UnknownName, match=r"unknown metric 'faild'\. Did you mean 'failed'"):
        headline_of(EVERY, {}, selected="faild")


def test_the_choice_of_the_command_comes_before_that_of_the_runs() -> None:
    plain = RunManifest()
    first, second = (
        RunManifest(settings=RunSettings(headline="seconds")),
        plain.with_headline("failed"),
    )
    assert chosen_headline([plain]) is None
    assert chosen_headline([plain, first, second]) == "seconds"
    assert chosen_headline([first], "warmth") == "warmth"
    assert second.settings is not None
    assert second.settings.headline == "failed"


def test_rows_that_are_missing_or_failed_apply() -> None:
    rows = [
        ("a", "x", "missing"),
        ("a", "y", "not applicable"),
        ("b", "y", "failed"),
        ("c", "x", "not applicable"),
    ]
    assert applicable_metrics(rows) == {"a": {"x"}, "b": {"y"}, "c": set()}
