"""The design of a task, and what a margin needs: the plan of a gate with an assumed spread."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from echat_eval.analysis.metric_rule import MetricRule
from echat_eval.checks.task_finding import Finding
from echat_eval.gate.plan import plan_for
from echat_eval.gate.plan_text import plan_facts, plan_line
from echat_eval.gate.policy import Policy
from echat_eval.stats.power import Variances, layout_of

if TYPE_CHECKING:
    from echat_eval.checks.task_data import TaskData

__all__ = ["MARGIN", "SD", "design_findings"]

#: Points; of a paired difference of two systems' scores of one sample.
MARGIN, SD = 5.0, 25.0
#: Assumed shares of the variance of a difference: of speakers and of sentences.
_BY_SPEAKER, _BY_SENTENCE = 0.1, 0.1


def design_findings(data: TaskData, *, margin: float = MARGIN, sd: float = SD) -> list[Finding]:
    """Return the design with its numbers, and the needs of a margin.

    Args:
        data: the task.
        margin: points that a comparison should show.
        sd: assumed standard deviation of one sample's difference, in points.
    """
    return [_numbers(data), _plan(data, margin, sd)]


def _numbers(data: TaskData) -> Finding:
    sizes = Counter(s.contrast_group for s in data.samples if s.contrast_group is not None)
    same = {s.contrast_group for s in data.samples if s.expect == "same"}
    alone = sum(s.contrast_group is None for s in data.samples)
    speakers = {s.speaker for s in data.samples if s.speaker is not None}
    sentences = int(data.design.sentences.max()) + 1
    text = (
        f"{data.design}; {len(sizes)} contrast groups ({len(same)} expect the same reply), {alone} samples "
        f"in none; {sentences} sentences, "
    )
    text += f"{len(speakers)} speakers" if data.has_speakers else "speakers not stated by every sample"
    return Finding(
        check="design",
        section="design",
        state="pass",
        message=f"{text}; to narrow intervals, {data.design.remedy}",
        details=tuple(
            f"{cue}: " + ", ".join(f"{label} {count}" for label, count in _labels(data, cue))
            for cue in data.cues
        ),
        numbers={
            "samples": len(data),
            "groups": len(sizes),
            "expect_same": len(same),
            "ungrouped": alone,
            "speakers": len(speakers) if data.has_speakers else None,
            "sentences": sentences,
            "crossed": data.design.crossed,
        },
    )


def _labels(data: TaskData, cue: str) -> list[tuple[str, int]]:
    counts = Counter(s.cues[cue] for s in data.samples if cue in s.cues)
    return [(label, counts[label]) for label in data.known_cues[cue].labels if counts[label]]


def _plan(data: TaskData, margin: float, sd: float) -> Finding:
    if data.design.clusters < 2:
        return Finding(
            check="margin",
            section="design",
            state="cannot tell",
            message=f"{data.design}: nothing shows how results vary",
            remedy="add speakers and sentences",
        )
    total, crossed = sd**2, data.design.crossed
    by_speaker, by_sentence = _BY_SPEAKER * total, _BY_SENTENCE * total * crossed
    plan = plan_for(
        Variances(by_speaker=by_speaker, by_sentence=by_sentence, rest=total - by_speaker - by_sentence),
        layout_of(data.design, correlation=_BY_SPEAKER),
        Policy(margin=margin, metrics={"score": MetricRule(higher_is_better=True)}),
        tests=1,
        source="assumed",
    )
    return Finding(
        check="margin",
        section="design",
        state="pass" if plan.enough else "cannot tell",
        message=f"margin {margin:g}, assumed sd {sd:g} of a sample's difference: {plan_line(plan)}",
        numbers=plan_facts(plan),
    )
