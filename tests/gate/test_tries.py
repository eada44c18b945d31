"""The ledger of tries: repeated tries at one baseline share one error budget, and no fault of it is a pass."""

from __future__ import annotations

import fcntl
import json
import math
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import echat_eval as ev
from echat_eval.errors import BadData, Busy, UsageError
from echat_eval.gate import Decision, Policy, tries
from echat_eval.gate.report import to_json, to_junit, to_lines, to_markdown
from echat_eval.gate.tries import evidence_of, share_of_error
from tests.support.score_tables import scores

Table = Callable[..., pd.DataFrame]
RULES: dict[str, Any] = {"empathy": {"higher_is_better": True, "low": 0, "high": 100}}
NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


@pytest.fixture
def table() -> Table:
    return partial(scores, n=120)


@pytest.fixture
def kept(tmp_path: Path, table: Table) -> Path:
    table().to_csv(tmp_path / "main.csv", index=False)
    ev.accept(tmp_path / "main.csv", tmp_path / "accepted", now=NOON)
    return tmp_path / "accepted"


def gate(kept: Path, frame: pd.DataFrame, *, minutes: float = 1, policy: Any = None, **more: Any) -> Decision:
    policy = policy or Policy(margin=3, metrics=RULES)
    return ev.gate(frame, kept, policy, now=NOON + timedelta(minutes=minutes), **more)


def test_all_tries_together_spend_the_error_of_one() -> None:
    assert sum(share_of_error(k, None) for k in range(1, 200_000)) == pytest.approx(1, abs=1e-5)
    for limit in (1, 2, 10):
        assert sum(share_of_error(k, limit) for k in range(1, 30)) == pytest.approx(1)
    assert share_of_error(1, 1) == 1
    assert share_of_error(2, 1) == 0


def test_every_try_has_a_wider_interval_than_the_one_before(kept: Path, table: Table) -> None:
    found = [gate(kept, table(seed=seed), minutes=seed) for seed in (2, 3, 4)]
    assert [f"{d.tries.partition(':')[0]}" for d in found] == [
        f"try {k} of 'ours' at this baseline" for k in (1, 2, 3)
    ]
    assert [d.tries.rpartition("lower ")[2] for d in found] == [
        "98.48 % bound",
        "99.62 % bound",
        "99.831 % bound",
    ]
    alone = [ev.gate(table(seed=seed), table(), Policy(margin=3, metrics=RULES)) for seed in (2, 3, 4)]
    assert alone[0].tries == "tries: not counted"
    ratios = [(d.high - d.low) / (a.high - a.low) for d, a in zip(found, alone, strict=True)]  # type: ignore[operator]
    assert ratios == sorted(ratios)
    assert ratios[0] > 1.05


def test_the_first_of_one_try_has_the_whole_budget(kept: Path, table: Table) -> None:
    once = Policy(margin=3, metrics=RULES, max_tries=1)
    found = gate(kept, table(seed=2), policy=once)
    alone = ev.gate(table(seed=2), table(), once)
    assert (found.low, found.high) == pytest.approx((alone.low, alone.high))
    assert found.outcome == "pass"
    second = gate(kept, table(5, seed=3), policy=once)
    assert second.outcome == "cannot tell"
    assert "try 2 of 'ours', and the policy allows 1 (`max_tries`)" in second.reasons[0]


def test_the_same_scores_are_the_same_try(kept: Path, table: Table) -> None:
    first = gate(kept, table(seed=2))
    gate(kept, table(seed=3))
    again = gate(kept, table(seed=2).sample(frac=1, random_state=0).assign(system="other"), lineage="ours")
    assert again.tries.startswith("try 1 of 'ours' at this baseline (seen before):")
    assert again.low == pytest.approx(first.low)
    assert len((kept / "tries.jsonl").read_text().splitlines()) == 3
    assert evidence_of(table(seed=2).assign(state="value", weight=1.0), ["empathy"]) != evidence_of(
        table(seed=3).assign(state="value", weight=1.0), ["empathy"]
    )


def test_lineages_are_counted_apart_and_another_name_is_no_first_try(kept: Path, table: Table) -> None:
    gate(kept, table(seed=2), lineage="a")
    gate(kept, table(seed=3), lineage="a")
    other = gate(kept, table(seed=4), lineage="b")
    assert other.tries.startswith("try 1 of 'b' at this baseline, 3 of 2 lineages in all:")
    assert gate(kept, table(seed=3), lineage="c").tries.startswith("try 2 of 'c'")


def test_every_report_shows_the_try_and_the_baseline(kept: Path, table: Table) -> None:
    found = gate(kept, table(seed=2))
    for text in ("\n".join(to_lines(found)), to_junit(found), to_markdown(found), to_json(found)):
        plain = text.replace("\\", "")
        assert "try 1 of 'ours' at this baseline" in plain
        assert "baseline: accepted 0 days ago, on 2026-11-30" in plain


def test_accept_starts_a_new_ledger(kept: Path, table: Table) -> None:
    for seed in (2, 3):
        gate(kept, table(seed=seed))
    assert tries.tries_in(kept) == 2
    table(seed=9).to_csv(kept.parent / "other.csv", index=False)
    ev.accept(kept.parent / "other.csv", kept, now=NOON + timedelta(hours=1))
    assert tries.tries_in(kept) == 0
    assert gate(kept, table(seed=4), minutes=61).tries.startswith("try 1 of")


def test_equal_scores_accepted_again_keep_their_ledger_unless_it_is_damaged(kept: Path, table: Table) -> None:
    gate(kept, table(seed=2))
    ev.accept(kept.parent / "main.csv", kept, now=NOON + timedelta(hours=1))
    assert gate(kept, table(seed=3), minutes=61).tries.startswith("try 2 of")
    (kept / "tries.jsonl").write_text("torn")
    ev.accept(kept.parent / "main.csv", kept, now=NOON + timedelta(hours=2))
    assert gate(kept, table(seed=3), minutes=121).tries.startswith("try 1 of")


def test_a_try_that_raises_is_not_counted(kept: Path, table: Table) -> None:
    with pytest.raises(BadData):
        gate(kept, table(seed=2).assign(sample_id=lambda f: "x" + f["sample_id"]))
    assert gate(kept, table(seed=2)).tries.startswith("try 1 of")


def test_a_policy_that_changed_between_tries_cannot_pass(kept: Path, table: Table) -> None:
    gate(kept, table(seed=2))
    wider = Policy(margin=9, metrics=RULES)
    found = gate(kept, table(seed=3), policy=wider)
    assert found.outcome == "cannot tell"
    assert found.reasons[0].startswith(
        "the policy is not that of the earlier tries of 'ours': margin changed"
    )
    assert gate(kept, table(seed=2), policy=wider).outcome == "cannot tell"
    aged = Policy(margin=3, metrics=RULES, max_age_days=3)
    assert gate(kept, table(seed=3), policy=aged).outcome == "pass"


def test_a_clock_in_the_past_cannot_pass(kept: Path, table: Table) -> None:
    gate(kept, table(seed=2), minutes=120)
    found = gate(kept, table(seed=3), minutes=60)
    assert found.outcome == "cannot tell"
    assert "the clock shows 2026-11-30 13:00, before the last try at 2026-11-30 14:00" in found.reasons[0]
    assert gate(kept, table(seed=3), minutes=118).outcome == "pass"
    (before,) = gate(kept, table(seed=4), minutes=-60).reasons[:1]
    assert "was accepted in the future" in before


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text + '{"lineage": "ours", "evid', "ends in the middle of a row"),
        (lambda text: text + "nonsense\n", "tries.jsonl:2: not strict JSON"),
        (lambda text: text + '{"lineage": "ours"}\n', "tries.jsonl:2: key 'evidence' is missing"),
        (lambda text: text.replace('"format":1', '"format":2'), "a ledger of format 2; this version reads 1"),
        (lambda text: "\n", "tries.jsonl:1: key 'format' is missing"),
        (
            lambda text: '{"baseline":"' + "0" * 64 + '","format":1}\n',
            "the ledger of another baseline (00000000",
        ),
        (lambda text: "", "the ledger of tries is empty, so its tries are lost"),
        (None, "the ledger of tries is missing"),
    ],
)
def test_a_damaged_or_foreign_ledger_is_one_line(
    kept: Path, table: Table, damage: Callable[[str], str] | None, message: str
) -> None:
    path = kept / "tries.jsonl"
    if damage is None:
        path.unlink()
    else:
        path.write_text(damage(path.read_text()))
    with pytest.raises(BadData) as caught:
        gate(kept, table(seed=2))
    assert message in str(caught.value)
    assert "start a new ledger: with `echat-eval gate accept`" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_gates_at_once_wait_for_each_other(kept: Path, table: Table, monkeypatch: Any) -> None:
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda seed=seed: found.append(gate(kept, table(seed=seed)).tries[:5]))
        for seed in (2, 3, 4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == ["try 1", "try 2", "try 3"]
    monkeypatch.setattr(tries, "WAIT", 0.0)
    with (kept / "tries.jsonl").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(Busy, match="another gate is deciding at this baseline"):
            gate(kept, table(seed=5))


def test_a_ledger_elsewhere_counts_at_any_baseline(tmp_path: Path, table: Table) -> None:
    table().to_csv(tmp_path / "main.csv", index=False)
    ledger = tmp_path / "tries.jsonl"
    for number in (1, 2):
        found = gate(tmp_path / "main.csv", table(seed=number + 1), ledger=ledger)
        assert found.tries.startswith(f"try {number} of")
        assert found.baseline == "baseline: of unknown age"
    ledger.write_text("")
    with pytest.raises(BadData, match="the ledger of tries is empty"):
        gate(tmp_path / "main.csv", table(seed=4), ledger=ledger)
    fresh = tmp_path / "fresh.jsonl"
    with pytest.raises(BadData):  # a decision that fails leaves no empty ledger behind
        gate(tmp_path / "main.csv", table(seed=4).assign(sample_id="x"), ledger=fresh)
    assert not fresh.exists()
    with pytest.raises(UsageError, match="the try cannot be counted: Is a directory"):
        gate(tmp_path / "main.csv", table(seed=2), ledger=tmp_path)


def test_a_baseline_of_an_older_version_gets_a_ledger(kept: Path, table: Table) -> None:
    facts = json.loads((kept / "accepted.json").read_text())
    del facts["id"], facts["format"], facts["judges"]
    (kept / "accepted.json").write_text(json.dumps(facts))
    (kept / "tries.jsonl").unlink()
    assert gate(kept, table(seed=2)).tries.startswith("try 1 of")
    assert gate(kept, table(seed=3)).tries.startswith("try 2 of")


def test_a_baseline_of_a_newer_format_is_one_line(kept: Path, table: Table) -> None:
    facts = json.loads((kept / "accepted.json").read_text())
    (kept / "accepted.json").write_text(json.dumps({**facts, "format": 99}))
    with pytest.raises(BadData, match="a baseline of format 99; this version reads"):
        gate(kept, table(seed=2))


def test_the_retirement_of_a_judge_is_shown(kept: Path, table: Table) -> None:
    facts = json.loads((kept / "accepted.json").read_text())
    judge = {"model": "gpt-4o-2024-11-20", "url": "https://api.openai.com/v1"}
    (kept / "accepted.json").write_text(json.dumps({**facts, "judges": [judge]}))
    assert (
        "OpenAI stops serving gpt-4o-2024-11-20 on 2027-01-14, in 45 days"
        in gate(kept, table(seed=2)).baseline
    )
    judge["url"] = "http://127.0.0.1:8000/v1"
    (kept / "accepted.json").write_text(json.dumps({**facts, "judges": [judge]}))
    assert "gpt-4o" not in gate(kept, table(seed=2)).baseline


def test_the_error_of_the_bounds_is_the_share(table: Table) -> None:
    policy = Policy(margin=3, metrics=RULES).spending(0.5)
    assert policy.level == pytest.approx(0.975)
    assert math.isclose(1 - policy.level, 0.5 * 0.05)
