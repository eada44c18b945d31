"""Notes under a leaderboard of judged runs: servers, cue gains, recognition, controls and cost."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from echat_eval.io.display import counted, number_text
from echat_eval.judge.retirement import retirement_note
from echat_eval.labels import UNKNOWN
from echat_eval.leaderboard.judge_notes import (
    cap_lines,
    family_lines,
    limit_lines,
    match_lines,
    variance_lines,
)
from echat_eval.leaderboard.repeat_notes import repeat_lines
from echat_eval.records import JudgeEvidence
from echat_eval.store.finish import finish_command
from echat_eval.store.headline import applicable_metrics, headline_of
from echat_eval.store.lost_recordings import lost_recordings

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence
    from decimal import Decimal

    from echat_eval.cost.totals import RunCosts
    from echat_eval.leaderboard.attribution import Perceptions
    from echat_eval.leaderboard.cue_gain import Gain
    from echat_eval.leaderboard.text_table import TextTable
    from echat_eval.records import Metric, Response, Sample, Score
    from echat_eval.stats import Estimate
    from echat_eval.store.run_folder import RunFolder

__all__ = [
    "CEILING",
    "FLOOR",
    "attribution_tables",
    "cost_lines",
    "gains_of",
    "reply_notes",
    "retirement_notes",
    "scored_earlier",
    "secondary_lines",
]

#: The same language model with the transcript only, and with the gold labels.
FLOOR, CEILING = "transcript-only", "gold-labels"
ResponseId = tuple[str, str, str]  # system, task, sample id


@dataclass(frozen=True)
class _Runs:
    """Rows of the run folders in one leaderboard."""

    folders: Sequence[RunFolder]
    headline: Metric

    @cached_property
    def scores(self) -> list[Score]:
        return [score for folder in self.folders for score in folder.scores().values()]

    @cached_property
    def responses(self) -> dict[ResponseId, Response]:
        return {ident: r for folder in self.folders for ident, r in folder.responses().items()}

    @cached_property
    def samples(self) -> dict[tuple[str, str], Sample]:
        return {(s.task, s.id): s for folder in self.folders for s in folder.samples()}

    @cached_property
    def clusters(self) -> Mapping[tuple[str, str], Hashable]:
        from echat_eval.stats.factors import units_of

        return units_of(list(self.samples.values()))

    @cached_property
    def judged(self) -> list[tuple[Score, JudgeEvidence]]:
        return [(s, s.evidence) for s in self.scores if isinstance(s.evidence, JudgeEvidence)]

    @property
    def of_systems(self) -> list[Score]:
        """Return the scores of systems, without floors and ceilings."""
        roles = {n: f.role for folder in self.folders for n, f in folder.manifest().systems.items()}
        return [score for score in self.scores if roles.get(score.system) == "system"]

    @cached_property
    def by_voice(self) -> list[Metric]:
        """Return the metric with notes: the one that leads among those that reward suiting the voice."""
        every = {m.name: m for folder in self.folders for m in folder.manifest().metrics}
        found = [m for m in every.values() if m.by_voice]
        if not found or self.headline in found:
            return [self.headline] * bool(found)
        rows = applicable_metrics((s.system, s.metric, s.state) for s in self.of_systems)
        return [headline_of(found, rows)]

    @cached_property
    def oracles(self) -> set[str]:
        found = [folder.manifest().systems for folder in self.folders]
        return {name for systems in found for name, facts in systems.items() if facts.oracle}


def secondary_lines(folders: Sequence[RunFolder], headline: Metric) -> list[str]:
    """Return the notes under the leaderboard of some run folders, which a metric leads."""
    from echat_eval.leaderboard.error_rates import error_rate_lines
    from echat_eval.scorers.listening_result import listening_notes
    from echat_eval.scorers.run_controls import control_notes
    from echat_eval.scorers.stored_links import link_notes

    runs = _Runs(folders, headline)
    lines = []
    for folder in folders:
        if names := scored_earlier(folder):
            lines.append(
                f"- scored by an earlier command; the last command did not configure these scorers "
                f'({folder.path}; "-": a reply without a score): {", ".join(names)}'
            )
    lines += [
        *_servers(runs.judged),
        *_opinions(runs.judged),
        *cap_lines(runs.judged),
        *limit_lines(runs.scores),
        *variance_lines(runs.judged),
        *match_lines(runs.scores, runs.responses, runs.clusters),
        *family_lines(folder.manifest() for folder in folders),
        *_gains(runs),
        *_by_label(runs),
    ]
    lines += _recognition(runs)
    lines += error_rate_lines(runs.scores, runs.samples)
    lines += [
        line
        for folder in folders
        for line in (*repeat_lines(folder, headline), *control_notes(folder), *link_notes(folder))
    ]
    lines += [f"- {line}" for folder in folders for line in listening_notes(folder)]
    lines += retirement_notes(folders)
    return [*lines, *(line for folder in folders for line in cost_lines(folder.manifest().cost))]


def retirement_notes(folders: Iterable[RunFolder]) -> list[str]:
    """Return one line per judge of some runs whose model has a last day."""
    days = {model: day for folder in folders for model, day in folder.manifest().retirements.items()}
    return [f"- {retirement_note(model, day)}" for model, day in sorted(days.items())]


def _servers(judged: Iterable[tuple[Score, JudgeEvidence]]) -> list[str]:
    """Return one line per metric whose verdicts come from several servers."""
    servers_of: dict[str, set[tuple[str, str]]] = {}
    for score, evidence in judged:
        found = servers_of.setdefault(score.metric, set())
        found.update((model, server) for model in evidence.models for server in evidence.servers)
    return [
        f"- {metric}: verdicts from {len(found)} servers: "
        + ", ".join(f"{model} ({server or 'no fingerprint'})" for model, server in sorted(found))
        for metric, found in servers_of.items()
        if len(found) > 1
    ]


def _opinions(judged: Iterable[tuple[Score, JudgeEvidence]]) -> list[str]:
    """Return how often further emotion annotators agree with the one that is used for scores."""
    from echat_eval.scorers.transcripts import EMOTION_ANNOTATORS

    pairs: dict[tuple[str, str], list[bool]] = {}
    for _, evidence in judged:
        opinions = evidence.opinions
        annotators = [name for name in EMOTION_ANNOTATORS if name in opinions]
        for other in annotators[1:]:
            if UNKNOWN not in (opinions[annotators[0]], opinions[other]):
                agrees = opinions[annotators[0]] == opinions[other]
                pairs.setdefault((annotators[0], other), []).append(agrees)
    return [
        f"- emotion of the voice: {second} agrees with {first} in {sum(agreements)} of {len(agreements)} "
        f"replies that both label; only {first} is used"
        for (first, second), agreements in pairs.items()
    ]


def _gains(runs: _Runs) -> list[str]:
    lines = []
    for metric in dict.fromkeys(score.metric for score, _ in runs.judged):
        for system, gain in gains_of(runs.scores, metric, runs.clusters).items():
            text = (
                f"undefined: {gain.reason}"
                if gain.value is None
                else f"{gain.value:.2f} {_interval(gain.low, gain.high, 2)} (0 {FLOOR}, 1 {CEILING}; Fieller)"
            )
            lines.append(f"- cue gain of {system}, {metric}: {text}{_left_out(gain.missing, 'scores')}")
    return lines


def _by_label(runs: _Runs) -> list[str]:
    """Return the means by label of tasks about age and gender."""
    from echat_eval.leaderboard.by_voice import label_means

    lines = []
    for metric in runs.by_voice:
        means: dict[tuple[str, str], list[str]] = {}
        for mean_of in label_means(runs.of_systems, metric, runs.samples, runs.clusters):
            text = f"{mean_of.label} {_estimate(mean_of.estimate, metric.digits)}"
            means.setdefault((mean_of.system, mean_of.task), []).append(text)
        lines += [
            f"- {metric.name} of {system} in {task}, by label: {', '.join(texts)} {metric.unit}"
            for (system, task), texts in means.items()
        ]
    return lines


def gains_of(
    scores: Iterable[Score], metric: str, clusters: Mapping[tuple[str, str], Hashable]
) -> dict[str, Gain]:
    """Return system -> cue gain on a metric; empty unless the floor and the ceiling have scores."""
    from echat_eval.leaderboard.cue_gain import paired_gain

    values: dict[str, dict[tuple[str, str], float]] = {}
    missing: dict[str, set[tuple[str, str]]] = {}
    for score in scores:
        if score.metric == metric and score.value is not None:
            values.setdefault(score.system, {})[score.task, score.sample_id] = score.value
        elif score.metric == metric and score.state == "missing":
            missing.setdefault(score.system, set()).add((score.task, score.sample_id))
    if FLOOR not in values or CEILING not in values:
        return {}
    return {
        system: replace(
            paired_gain(found, values[FLOOR], values[CEILING], clusters),
            missing=len(set().union(*(missing.get(name, ()) for name in (system, FLOOR, CEILING)))),
        )
        for system, found in values.items()
        if system not in (FLOOR, CEILING) and set(found) & set(values[FLOOR]) & set(values[CEILING])
    }


def attribution_tables(folders: Sequence[RunFolder], headline: Metric) -> list[TextTable]:
    """Return the error attribution of run folders, if any reply has both a label and a verdict."""
    from echat_eval.leaderboard.attribution_text import attribution_table

    table = attribution_table(_perceptions(_Runs(folders, headline)))
    return [] if table is None else [table]


def _perceptions(runs: _Runs) -> Perceptions:
    from echat_eval.leaderboard.attribution import perceptions_of

    return perceptions_of(runs.samples, runs.responses, runs.scores, runs.clusters, oracles=runs.oracles)


def _recognition(runs: _Runs) -> list[str]:
    """Return recognition rates, over all labels and per label."""
    from echat_eval.labels.declared import cues_of
    from echat_eval.leaderboard.attribution import by_task, recognition

    known = cues_of(runs.samples.values())
    found = _perceptions(runs)
    absent = Counter((r.system, r.task) for r in runs.responses.values() if r.state == "missing")
    lines = []
    for (system, cue, source), rows in found.items():
        tasks = by_task(rows)
        for task, selected in tasks.items():
            rates = recognition(known[cue], [(r.gold, r.perceived or UNKNOWN, r.cluster) for r in selected])
            right = ", ".join(f"{label} {hits} of {n}" for label, (hits, n) in rates.per_label.items())
            suffix = f" in {task}" if len(tasks) > 1 else ""
            lines.append(
                f"- {system} perceives {cue}{suffix} ({source}): UAR {_estimate(rates.uar)} %, "
                f"WAR {_estimate(rates.war)} %; right: {right}"
                + _distance(rates.steps)
                + _left_out(absent.get((system, task), 0), "replies")
            )
    return lines


def _distance(steps: tuple[float, int] | None) -> str:
    """Return how far the labels of an ordinal cue are off; "" for other cues."""
    return f"; off by {number_text(steps[0], 2)} steps on average (n {steps[1]})" if steps else ""


def _left_out(missing: int, what: str) -> str:
    """Return that missing rows are in no number, for figures of complete cases; "" if none is missing."""
    return f"; {missing} missing {what} are left out, and no bound covers them" if missing else ""


def _estimate(found: Estimate, digits: int = 1) -> str:
    if found.no_interval:
        return f"{number_text(found.value, digits)} [{found.no_interval}]"
    return f"{number_text(found.value, digits)} {_interval(found.low, found.high, digits)}"


def _interval(low: float | None, high: float | None, digits: int) -> str:
    if low is None or high is None:
        return "(no interval)"
    return f"[{number_text(low, digits)}, {number_text(high, digits)}]"


def scored_earlier(run: RunFolder) -> list[str]:
    """Return the names of scorers whose scores come from an earlier command than the last."""
    return [name for name, facts in run.manifest().scorers.items() if facts.earlier]


def cost_lines(cost: RunCosts | None) -> list[str]:
    """Return the cost of a run over all its commands, one line per judge and system."""
    if cost is None:
        return []
    days = sorted({price.date for price in cost.prices.values()})
    lines = []
    for role, entries in (("judge", cost.judges), ("system", cost.systems)):
        for name, entry in entries.items():
            money = " and ".join(_amounts(entry.money))
            counts = entry.tokens.by_kind().items()
            tokens = ", ".join(f"{n:,} {kind.replace('_', ' ')}" for kind, n in counts if n)
            line = f"- cost of {role} {name}: {money or 'money unknown'}, {entry.calls:,} calls"
            line += f", tokens: {tokens}" if tokens else ""
            if money and entry.unpriced:
                line += f"; {entry.unpriced:,} calls have no price"
            if entry.lost:
                upper_bound = " and ".join(_amounts(entry.lost_at_most))
                line += f"; {entry.lost:,} calls were interrupted and may have been billed"
                line += f", up to {upper_bound}" if upper_bound else ""
            lines.append(line + (f" (prices of {', '.join(days)})" if money else ""))
    return lines


def _amounts(money: Mapping[str, Decimal]) -> list[str]:
    return [f"{amount:f} {currency}" for currency, amount in sorted(money.items())]


def reply_notes(run: RunFolder) -> list[str]:
    """Return one line per system whose replies were not timed, failed, or are missing, with the main reason.

    A system whose replies are all there has a line per metric with missing scores, and one if recordings are
    gone. The last line is the command that gets missing rows.
    """
    responses = run.responses().values()
    lines = [
        f"{system}: {count} replies came from the cache, so their times were not measured; "
        "use --no-cache and a new folder to measure them"
        for system, count in Counter(r.system for r in responses if r.cached).items()
    ]
    lines += [
        f"{system}: {counted(len(names), 'recording')} gone, such as {run.path / 'audio' / names[0]}; "
        "restore the folder from a copy, or run the system again in a new folder"
        for system, names in lost_recordings(run).items()
    ]
    reasons_of: dict[tuple[str, str], Counter[str]] = {}
    for response in responses:
        if response.state in ("failed", "missing"):
            reasons_of.setdefault((response.system, f"replies {response.state}"), Counter())[
                response.reason or "?"
            ] += 1
    without_replies = {system for system, kind in reasons_of if kind == "replies missing"}
    for score in run.scores().values():
        if score.state == "missing" and score.system not in without_replies:
            reasons_of.setdefault((score.system, f"scores missing {score.metric}"), Counter())[
                score.reason or "?"
            ] += 1
    for (system, kind), reasons in reasons_of.items():
        reason, _ = reasons.most_common(1)[0]
        more = f" ({len(reasons)} reasons; see {run.path})" if len(reasons) > 1 else ""
        lines.append(f"{system}: {sum(reasons.values())} {kind}: {reason}{more}")
    if any("missing" in kind for _, kind in reasons_of):
        lines.append(f"{finish_command(str(run.path))} gets the missing rows")
    return lines
