"""A candidate that fails, or whose replies are no words, does not pass, whatever the primary metric."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pandas as pd
import pytest

from echat_eval.errors import Exit
from echat_eval.gate import Decision, Policy, Provenance, decide
from echat_eval.gate.reasons import Blocker, Reason
from echat_eval.gate.report import to_junit, to_lines, to_markdown
from echat_eval.records import Metric
from echat_eval.scorers import SCORERS
from echat_eval.scorers.judged import judged_scorers

N = 120
OLD = Blocker(reason=Reason.BASELINE_TOO_OLD, text="the baseline is too old")


class NoEmbedder:
    def embed(self, text: str) -> Any:
        raise AssertionError("no text is embedded here")

    def fingerprint(self) -> str:
        return "none"


def shipped_metrics() -> list[Metric]:
    """Return the metrics of every scorer that ships, judges included."""
    metrics: list[Metric] = []
    for location in SCORERS.values():
        module, _, name = location.partition(":")
        scorer = getattr(importlib.import_module(module), name)
        metrics += (scorer(embedder=NoEmbedder()) if name == "CueContrast" else scorer()).metrics
    judged = judged_scorers("m-2026-01-01", "http://127.0.0.1:9/v1")
    for scorer in judged:
        metrics += scorer.metrics
    judged[0].close()
    return metrics


METRICS = {metric.name: metric for metric in shipped_metrics()}
#: One metric of every average, range, direction and value of a failure, and those that the gate knows by name.
KINDS = [
    *{(m.average, m.low, m.high, m.worst, m.higher_is_better): m.name for m in METRICS.values()}.values(),
    *("cue_contrast_proxy", "over_reaction_proxy", "unreadable_reply", "empty_reply"),
]
#: The policy of the README.
README: dict[str, Any] = {"margin": 2.0, "metrics": {"cue_contrast_proxy": {}}}


def rule_of(metric: Metric, **more: Any) -> dict[str, Any]:
    average = "macro" if metric.average == "macro recall" else metric.average
    facts = {"low": metric.low, "high": metric.high, "worst": metric.worst, "average": average}
    return {"higher_is_better": metric.higher_is_better, **facts, **more}


def policy(name: str = "cue_contrast_proxy", **more: Any) -> Policy:
    return Policy(**{"margin": 2.0, "metrics": {name: rule_of(METRICS[name])}, **more})


def rows(
    name: str = "cue_contrast_proxy", failed: Any = (), *, n: int = N, shift: float = 0.0
) -> pd.DataFrame:
    """Return scores of a system that is fine except for the failed replies (positions)."""
    metric, place = METRICS[name], np.arange(n)
    drawn = np.random.default_rng(4).uniform(2, 8, n)
    value = drawn if metric.low == 0.0 and not metric.higher_is_better else drawn + 60
    state = np.where(np.isin(place, list(failed)), "failed", "value")
    worst = np.nan if metric.worst is None else metric.worst
    return pd.DataFrame(
        {
            "task": "emotion",
            "sample_id": [f"s{i}" for i in place],
            "system": "ours",
            "metric": name,
            "value": np.where(state == "failed", worst, value + shift),
            "state": state,
            "reply": [f"hash {i}" for i in place],
            "label": np.where(place % 2 == 0, "happy", "sad"),
            "speaker": [f"p{i // 4}" for i in place],
        }
    )


def instrument(name: str, value: float, *, n: int = N, **more: Any) -> pd.DataFrame:
    return rows(n=n).assign(metric=name, value=value, **more)


def found(decision: Decision, text: str) -> Any:
    (rule,) = (rule for rule in decision.rules if rule.name.startswith(text))
    return rule


# -- over-reaction ------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "before", "state"), [(60.0, 10.0, "broken"), (60.0, 40.0, "holds"), (10.0, 0.0, "holds")]
)
def test_replies_that_follow_the_voice_where_they_should_not_regress(
    now: float, before: float, state: str
) -> None:
    def with_rate(rate: float) -> pd.DataFrame:
        values = np.where(np.arange(N) % 10 < rate / 10, 100.0, 0.0)
        over = instrument("over_reaction_proxy", 0.0).assign(value=values, state="value")
        return pd.concat([rows(), over])

    got = decide(with_rate(now), with_rate(before), policy())
    rule = found(got, "over_reaction_proxy: at most 25 %, unless the baseline is above it")
    assert (rule.state, rule.detail) == (state, f"baseline {before:.1f} %")
    assert (got.outcome == "regress") is (state == "broken")
    relaxed = decide(with_rate(now), with_rate(before), policy(max_over_reaction=70))
    assert found(relaxed, "over_reaction_proxy: at most 70 %").state == "holds"
    assert any("the policy accepts 70 % over-reaction" in warning for warning in relaxed.warnings)


# -- failed replies -----------------------------------------------------------


@pytest.mark.parametrize("name", sorted(set(KINDS)))
@pytest.mark.parametrize(
    ("failed", "text"),
    [
        (range(N), "failed replies: 120 of 120 (100.0 % [88.4, 100.0], limit 2 %)"),
        (range(0, N, 3), "failed replies: 40 of 120 (33.3 % ["),
        (range(36), "failed replies: 36 of 120 (30.0 % ["),
    ],
    ids=["all", "every third", "30 %, whole speakers"],
)
def test_many_failures_regress_under_every_metric(name: str, failed: Any, text: str) -> None:
    got = decide(rows(name, failed), rows(name), policy(name))
    assert got.outcome == "regress"
    assert got.failures.startswith(text)
    assert found(got, "failed replies: at most 2 %").state == "broken"
    assert found(got, "failed replies: at most 2 points more").state == "broken"


@pytest.mark.parametrize("name", sorted(set(KINDS)))
def test_one_failure_above_the_limit_does_not_pass(name: str) -> None:
    got = decide(rows(name, [3, 50, 90]), rows(name), policy(name, margin=90.0))
    rule = found(got, "failed replies: at most 2 %")
    assert (rule.state, rule.detail) == ("open", "3 of 120")
    assert got.outcome != "pass"
    assert "failed replies: at most 2 %: open (3 of 120)" in got.reasons


@pytest.mark.parametrize(("failed", "n"), [([], 120), ([], 40), ([3, 50], 120)])
def test_failures_within_the_limit_are_held(failed: list[int], n: int) -> None:
    got = decide(rows(failed=failed, n=n), rows(n=n), policy(margin=50))
    assert found(got, "failed replies: at most 2 %").state == "holds"
    assert found(got, "failed replies: at most 2 points more").state == "holds"
    assert got.outcome == "pass"
    assert got.failures.startswith(f"failed replies: {len(failed)} of {n} (")


def test_no_failures_have_the_upper_limit_of_the_clusters() -> None:
    got = decide(rows(n=40), rows(n=40), policy())
    assert got.failures == "failed replies: 0 of 40 (0.0 % [0.0, 30.8], limit 2 %)"


def test_a_sample_fails_if_any_of_its_rows_does() -> None:
    """The primary metric has a value where another metric found a failure; both count once per sample."""
    other = rows("failed", range(60))
    got = decide(pd.concat([rows(), other]), pd.concat([rows(), rows("failed")]), policy())
    assert got.failures.startswith("failed replies: 60 of 120")
    assert got.outcome == "regress"


def test_missing_and_not_applicable_samples_are_not_in_the_share() -> None:
    table = rows(failed=[0])
    table.loc[20:39, "state"] = "not applicable"
    table.loc[40:59, "state"] = "missing"
    table.loc[20:59, "value"] = np.nan
    assert decide(table, rows(), policy()).failures.startswith("failed replies: 1 of 80 (1.2 % [")


@pytest.mark.parametrize("blockers", [(), (OLD,)])
def test_all_failed_regresses_under_any_policy(blockers: tuple[Blocker, ...]) -> None:
    lax = policy(
        max_failed=1,
        max_more_failed=1,
        margin=200,
        metrics={"cue_contrast_proxy": {"higher_is_better": True}},
    )
    everything = decide(rows(failed=range(N)), rows(), lax, provenance=Provenance(blockers=blockers))
    assert everything.outcome == "regress"
    both = decide(rows(failed=range(N)), rows(failed=range(N)), lax, provenance=Provenance(blockers=blockers))
    assert both.outcome == "regress", "a baseline that failed as well is no excuse"


def test_a_larger_limit_is_printed() -> None:
    got = decide(rows(failed=range(0, N, 12)), rows(), policy(margin=50, max_failed=0.3, max_more_failed=0.3))
    assert got.outcome == "pass"
    assert "limit 30 %" in got.failures
    assert "the policy accepts 30 % failed replies; the built-in limit is 2 %" in got.warnings
    assert not any("accepts" in text for text in decide(rows(), rows(), policy(max_failed=0.01)).warnings)


def test_more_failures_than_the_baseline_do_not_pass_although_the_limit_allows_them() -> None:
    candidate, baseline = rows(failed=range(0, N, 12)), rows(failed=[0])  # 10 of 120 against 1
    got = decide(candidate, baseline, policy(margin=50, max_failed=0.3))
    rule = found(got, "failed replies: at most 2 points more")
    assert (rule.state, rule.detail) == ("broken", "10 of 120, baseline 1 of 120")
    assert got.outcome == "regress"
    few = decide(rows(failed=[0, 20, 40, 60]), baseline, policy(margin=50, max_failed=0.3))
    assert found(few, "failed replies: at most 2 points more").state == "open"
    assert few.outcome == "cannot tell"
    equal = decide(candidate, candidate, policy(margin=50, max_failed=0.3))
    assert equal.outcome == "pass"


def test_a_table_without_states_reports_that_failures_are_unknown() -> None:
    bare = rows().drop(columns="state")
    for candidate in (bare, bare.assign(state="")):
        got = decide(candidate, rows(), policy())
        assert got.failures == "failures: unknown (no state column)"
        assert any(text.startswith("failures: unknown (no state column)") for text in got.warnings)
    against = decide(rows(), bare, policy())
    assert "failures of the baseline: unknown (no state column)" in against.warnings
    assert against.failures.startswith("failed replies: 0 of 120")


def test_no_reply_and_no_failure_cannot_tell() -> None:
    table = rows().assign(state="missing", value=np.nan)
    got = decide(table, rows(), policy())
    assert got.exit_code == Exit.CANNOT_TELL
    assert any("no sample of the candidate has a reply or a failure" in reason for reason in got.reasons)


# -- replies that are no words ------------------------------------------------


@pytest.mark.parametrize("name", sorted(set(KINDS)))
@pytest.mark.parametrize("metric", ["unreadable_reply", "empty_reply"])
def test_gibberish_and_silence_regress_under_every_metric(name: str, metric: str) -> None:
    bad = instrument(metric, 100.0)
    candidate = bad if name == metric else pd.concat([rows(name), bad])
    got = decide(candidate, rows(name), policy(name))
    assert got.outcome == "regress"
    assert got.readability == "unreadable replies: 120 of 120 (100.0 % [88.4, 100.0], limit 5 %)"


@pytest.mark.parametrize(("bad", "state"), [(0, "holds"), (6, "holds"), (7, "open"), (30, "broken")])
def test_the_share_of_unreadable_replies_follows_the_rule_of_failures(bad: int, state: str) -> None:
    spread = np.isin(np.arange(N), np.arange(bad) * 4)  # one of each speaker
    table = instrument("unreadable_reply", 0.0).assign(value=np.where(spread, 100.0, 0.0))
    got = decide(pd.concat([rows(), table]), rows(), policy())
    rule = found(got, "unreadable replies")
    assert (rule.state, rule.detail) == (state, f"{bad} of 120")
    assert got.outcome == {"holds": "pass", "open": "cannot tell", "broken": "regress"}[state]


def test_a_larger_limit_for_unreadable_replies_is_printed() -> None:
    table = pd.concat([rows(), instrument("unreadable_reply", 100.0)])
    got = decide(table, rows(), policy(max_unreadable=1))
    assert got.outcome == "pass"
    assert "the policy accepts 100 % unreadable replies; the built-in limit is 5 %" in got.warnings


def test_languages_without_a_list_are_judged_for_emptiness_only() -> None:
    readable = instrument("unreadable_reply", 0.0)
    readable.loc[:39, "state"] = "not applicable"
    readable.loc[:39, "value"] = np.nan
    got = decide(pd.concat([rows(), readable, instrument("empty_reply", 0.0)]), rows(), policy())
    assert found(got, "unreadable replies").detail == "0 of 120; of 40 only whether they are empty is known"


def test_failed_replies_are_not_judged_for_readability_and_come_first_among_the_reasons() -> None:
    nothing = pd.concat([rows(failed=range(N)), rows("unreadable_reply", range(N))])
    got = decide(nothing, rows(), policy())
    assert got.readability == "readability: no reply to judge"
    assert not any("readability" in text for text in got.warnings)
    assert got.reasons[0] == "failed replies: at most 2 %: broken (120 of 120)"


def test_contrasts_alone_without_readability_report_that_it_is_unknown() -> None:
    got = decide(rows(), rows(), policy())
    assert got.readability == "readability: unknown (no unreadable_reply rows)"
    assert any(text.startswith("readability: unknown") for text in got.warnings)
    graded = pd.concat([rows(), rows("judge_echat_r1")])
    metrics = {name: rule_of(METRICS[name]) for name in ("cue_contrast_proxy", "judge_echat_r1")}
    assert decide(graded, graded, policy(metrics=metrics)).readability == ""


@pytest.mark.parametrize("metric", ["reply_wer", "reply_cer"])
@pytest.mark.parametrize(
    ("before", "after", "state"),
    [(5, 20, "holds"), (5, 95, "broken"), (80, 95, "holds"), (None, 95, "broken"), (5, 51, "open")],
)
def test_a_voice_that_no_longer_speaks_the_text_does_not_pass(
    metric: str, before: float | None, after: float, state: str
) -> None:
    def spoken(mean: float) -> pd.DataFrame:
        return instrument(metric, 0.0).assign(value=mean + 20 * np.sin(np.arange(N)), weight=10.0)

    baseline = rows() if before is None else pd.concat([rows(), spoken(before + 20)])
    ours = pd.concat([rows(), spoken(after)])
    got = decide(ours, baseline, policy())
    assert found(got, f"{metric}: at most 50 %").state == state
    assert got.outcome == {"holds": "pass", "open": "cannot tell", "broken": "regress"}[state]


# -- every report -------------------------------------------------------------


@pytest.mark.parametrize("failed", [(), (3, 50, 90), tuple(range(N))], ids=["pass", "cannot tell", "regress"])
def test_every_report_prints_failures_and_readability(failed: tuple[int, ...]) -> None:
    readable = instrument("unreadable_reply", 0.0)
    got = decide(pd.concat([rows(failed=failed), readable]), rows(), policy(margin=50))
    assert got.outcome == {0: "pass", 3: "cannot tell", N: "regress"}[len(failed)]
    shares = {
        0: "failed replies: 0 of 120 (0.0 % [0.0, 11.6], limit 2 %)",
        3: "failed replies: 3 of 120 (2.5 % [0.5, 11.6], limit 2 %)",
        N: "failed replies: 120 of 120 (100.0 % [88.4, 100.0], limit 2 %)",
    }
    text = f"{shares[len(failed)]}; unreadable replies: 0 of 120 (0.0 % [0.0, 11.6], limit 5 %)"
    assert text in to_lines(got)[0]
    assert text in to_junit(got)
    plain = to_markdown(got).replace("\\", "")
    assert text in plain
    assert "| failed replies: at most 2 % |" in plain
    unknown = decide(rows().drop(columns="state"), rows(), policy(margin=50))
    for report in ("\n".join(to_lines(unknown)), to_junit(unknown), to_markdown(unknown).replace("\\", "")):
        assert "failures: unknown (no state column)" in report
