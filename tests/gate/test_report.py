"""Reports of a decision: JUnit as Jenkins and GitLab read it, the summary's facts, and the line for a chat."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np
import pytest

import echat_eval as ev
from echat_eval.gate import Decision, Policy, decide, decide_first
from echat_eval.gate.report import to_json, to_junit, to_markdown, to_message
from echat_eval.testing import ScriptedScorer, ScriptedSystem
from tests.support.score_tables import scores
from tests.support.tones import write_task

if TYPE_CHECKING:
    import pandas as pd

RULES: dict[str, Any] = {"match_rate_x": {"higher_is_better": True, "low": 0, "high": 100}}
POLICY = Policy(margin=3, metrics=RULES)
#: Jenkins' schema junit-10: element -> required attributes, further attributes, children; text or none.
JENKINS: dict[str, tuple[set[str], set[str], set[str], bool]] = {
    "testsuites": (set(), {"name", "time", "tests", "failures", "errors"}, {"testsuite"}, False),
    "testsuite": (
        {"name", "tests", "failures", "errors"},
        {"group", "time", "skipped", "timestamp", "hostname", "id", "package", "file", "log", "url"},
        {"testsuite", "properties", "testcase", "system-out", "system-err"},
        False,
    ),
    "testcase": (
        {"name"},
        {"time", "classname", "group"},
        {"skipped", "error", "failure", "system-out", "system-err"},
        False,
    ),
    **{name: (set(), {"type", "message"}, set(), True) for name in ("failure", "error", "skipped")},
    **{name: (set(), set(), set(), True) for name in ("system-out", "system-err")},
}
TIME = re.compile(r"(([0-9]{0,3},)*[0-9]{3}|[0-9]{0,3})*(\.[0-9]*)?")


def faults_of(node: ElementTree.Element) -> list[str]:
    """Return how an element and those in it break Jenkins' schema."""
    required, more, children, text = JENKINS[node.tag]
    names = set(node.keys())
    faults = [f"{node.tag}: no {name}" for name in required - names]
    faults += [f"{node.tag}: attribute {name}" for name in names - required - more]
    faults += [f"{node.tag}: element {child.tag}" for child in node if child.tag not in children]
    if not text and (node.text or "").strip():
        faults.append(f"{node.tag}: text")
    if node.tag in {"testsuite", "testsuites"} and not TIME.fullmatch(node.get("time", "0")):
        faults.append(f"{node.tag}: time")
    return [*faults, *(fault for child in node for fault in faults_of(child))]


def table(shift: float = 0.0, seed: int = 1, **more: Any) -> pd.DataFrame:
    return scores(shift, seed, n=120, metric="match_rate_x", **more)


DECISIONS: dict[str, Decision] = {
    "pass": decide(table(2), table(seed=2), POLICY),
    "regress": decide(table(-9), table(seed=2), POLICY),
    "cannot tell": decide(table(missing=0.4), table(seed=2), POLICY),
    "first": decide_first(table(), POLICY),
    "hostile": decide(
        table(-9).assign(task='a"<b>&\x00]]>'), table(seed=2).assign(task='a"<b>&\x00]]>'), POLICY
    ),
}


@pytest.mark.parametrize("decision", DECISIONS.values(), ids=DECISIONS)
def test_junit_has_the_form_that_jenkins_and_gitlab_read(decision: Decision) -> None:
    text = to_junit(decision)
    root = ElementTree.fromstring(text)
    assert not faults_of(root)
    cases = list(root.iter("testcase"))
    # GitLab ignores a second test case of the same name, shows the text of a fault, and limits the size.
    assert len({(case.get("classname"), case.get("name")) for case in cases}) == len(cases)
    assert all(node.text for case in cases for node in case)
    assert len(text) < 30e6


def test_a_form_that_jenkins_refuses_is_found() -> None:
    text = '<testsuites><testsuite name="a" tests="1" failures="0"><testcase colour="x"><p/></testcase></testsuite></testsuites>'
    root = ElementTree.fromstring(text.replace("<p/>", "<skipped/>"))
    assert faults_of(root) == ["testsuite: no errors", "testcase: no name", "testcase: attribute colour"]


def test_the_summary_names_levels_and_the_samples_that_fell_most() -> None:
    decision = DECISIONS["regress"]
    before, after = decision.levels
    assert before == pytest.approx(table(seed=2)["value"].mean())
    assert after == pytest.approx(table(-9)["value"].mean())
    change = table(-9).set_index("sample_id")["value"] - table(seed=2).set_index("sample_id")["value"]
    assert [sample.sample_id for sample in decision.worst] == list(change.nsmallest(5).index)
    summary = to_markdown(decision, "https://ci.example/page/index.html")
    assert "**The 5 samples that fell most**" in summary
    worst = decision.worst[0]
    assert f"](https://ci.example/page/index.html#/samples/{worst.task}/{worst.sample_id})" in summary
    assert "](" not in to_markdown(decision)


def evaluate(name: str, level: float, data: Path, folder: Path) -> None:
    """Run a system that replies with its name, and gets this score everywhere."""
    system = ScriptedSystem(lambda _: ev.Reply(text=f"A {name} reply_with_words."), "ours")
    scorer = ScriptedScorer(level, "fixed")
    places: dict[str, Any] = {"tasks": "emotion", "data": data.parent, "out": folder / name}
    ev.evaluate(system, **places, annotators=[], scorers=[scorer], cache=False)


def test_runs_words_and_commits_are_named(tmp_path: Path) -> None:
    data = write_task(tmp_path / "data")
    evaluate("old", 60.0, data, tmp_path)
    evaluate("new", 40.0, data, tmp_path)
    now = datetime(2026, 11, 30, 12, tzinfo=UTC)
    ev.accept(tmp_path / "old", tmp_path / "kept", commit="0ld", now=now)
    policy = {"margin": 5, "metrics": {"fixed": {}}}
    decision = ev.gate(f"cand={tmp_path / 'new'}", tmp_path / "kept", policy, commit="n3w", now=now)
    candidate, baseline = (run.line for run in decision.runs)
    assert candidate.startswith("cand (cand), commit n3w, EChat-eval ")
    assert baseline.startswith(f"{tmp_path / 'kept'} (ours), commit 0ld, EChat-eval ")
    assert all(line.endswith("judge none") for line in (candidate, baseline))
    worst = decision.worst[0]
    assert worst.reply == "A new reply_with_words."
    assert worst.reply_before == "A old reply_with_words."
    assert worst.words
    assert decision.date == "2026-11-30T12:00:00+00:00"
    found = json.loads(to_json(decision))
    assert found["worst"][0]["reply"] == worst.reply
    assert found["runs"][1]["commit"] == "0ld"


def test_the_message_is_one_line_without_escapes() -> None:
    message = to_message(DECISIONS["regress"], "https://ci.example/p_q")
    assert message.startswith("regress; match_rate_x -")
    assert message.endswith(" https://ci.example/p_q\n")
    assert message.count("\n") == 1
    assert "\\" not in message
    assert len(to_message(DECISIONS["hostile"])) <= 401
    assert to_message(DECISIONS["first"]).startswith("cannot tell; match_rate_x cannot tell, margin 3; ")
    assert np.isfinite(DECISIONS["regress"].levels[0] or np.nan)
