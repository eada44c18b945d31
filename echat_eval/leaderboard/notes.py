"""Notes under a leaderboard of judged runs: servers, cue gains, error attribution, controls and cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from echat_eval.records import Score

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence

    from echat_eval.leaderboard.attribution import AttributionRow
    from echat_eval.leaderboard.cue_gain import Gain
    from echat_eval.records import Response, Sample, Score
    from echat_eval.stats import Estimate
    from echat_eval.store.run_folder import RunFolder

__all__ = ["CEILING", "FLOOR", "cost_lines", "gains_of", "scored_earlier", "secondary_lines"]

#: The same language model with the transcript only, and with the gold labels.
FLOOR, CEILING = "transcript-only", "gold-labels"
ResponseId = tuple[str, str, str]  # system, task, sample id


@dataclass(frozen=True)
class _Runs:
    """Rows of the run folders in one leaderboard."""

    folders: Sequence[RunFolder]

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
    def clusters(self) -> Mapping[Hashable, Hashable]:
        from echat_eval.stats.clusters import clusters_of

        return dict(zip(self.samples, clusters_of(list(self.samples.values())), strict=True))

    @cached_property
    def judged(self) -> list[Score]:
        return [score for score in self.scores if "grades" in score.evidence]

    @cached_property
    def oracles(self) -> set[str]:
        found = [folder.manifest().get("systems", {}) for folder in self.folders]
        return {name for systems in found for name, facts in systems.items() if facts.get("oracle")}


def secondary_lines(folders: Sequence[RunFolder]) -> list[str]:
    """Return the notes under the leaderboard of some run folders; empty if there are none."""
    from echat_eval.scorers.run_controls import control_notes
    from echat_eval.store.ledger import unfinished

    runs = _Runs(folders)
    lines = []
    for folder in folders:
        if gap := unfinished(folder):
            lines.append(f"- NOT FINISHED ({folder.path}): {gap}; the table covers the rows present")
        if names := scored_earlier(folder):
            lines.append(
                f"- scored by an earlier command; the last command did not configure these scorers "
                f'({folder.path}; "-": a reply without a score): {", ".join(names)}'
            )
    lines += [*_servers(runs.judged), *_opinions(runs.judged), *_gains(runs), *_attribution(runs)]
    lines += [line for folder in folders for line in control_notes(folder)]
    return [*lines, *(line for folder in folders for line in cost_lines(folder.manifest()))]


def _servers(judged: Iterable[Score]) -> list[str]:
    """Return one line per metric whose verdicts come from several servers."""
    servers_of: dict[str, set[tuple[str, str]]] = {}
    for score in judged:
        models, servers = score.evidence["models"], score.evidence["servers"]
        servers_of.setdefault(score.metric, set()).update((m, s) for m in models for s in servers)
    return [
        f"- {metric}: verdicts from {len(found)} servers: "
        + ", ".join(f"{model} ({server or 'no fingerprint'})" for model, server in sorted(found))
        for metric, found in servers_of.items()
        if len(found) > 1
    ]


def _opinions(judged: Iterable[Score]) -> list[str]:
    """Return how often further emotion annotators agree with the one that is used for scores."""
    from echat_eval.labels import UNKNOWN
    from echat_eval.scorers.transcripts import EMOTION_ANNOTATORS

    pairs: dict[tuple[str, str], list[bool]] = {}
    for score in judged:
        opinions = score.evidence.get("opinions", {})
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
    for metric in dict.fromkeys(score.metric for score in runs.judged):
        for system, gain in gains_of(runs.scores, metric, runs.clusters).items():
            text = (
                f"undefined: {gain.reason}"
                if gain.value is None
                else f"{gain.value:.2f} {_interval(gain.low, gain.high, 2)} (0 {FLOOR}, 1 {CEILING}; Fieller)"
            )
            lines.append(f"- cue gain of {system}, {metric}: {text}")
    return lines


def gains_of(scores: Iterable[Score], metric: str, clusters: Mapping[Hashable, Hashable]) -> dict[str, Gain]:
    """Return system -> cue gain on a metric; empty unless the floor and the ceiling have scores."""
    from echat_eval.leaderboard.cue_gain import paired_gain

    values: dict[str, dict[Hashable, float]] = {}
    for score in scores:
        if score.metric == metric and score.value is not None:
            values.setdefault(score.system, {})[score.task, score.sample_id] = score.value
    if FLOOR not in values or CEILING not in values:
        return {}
    return {
        system: paired_gain(found, values[FLOOR], values[CEILING], clusters)
        for system, found in values.items()
        if system not in (FLOOR, CEILING) and set(found) & set(values[FLOOR]) & set(values[CEILING])
    }


def _attribution(runs: _Runs) -> list[str]:
    """Return recognition rates and error attribution, over all labels and per label."""
    from echat_eval.leaderboard.attribution import recognition

    lines = []
    for (system, cue, source), found in _rows(runs).items():
        rates = recognition(cue, [(r.gold, r.perceived or "unknown", r.cluster) for r in found])
        right = ", ".join(f"{label} {hits} of {count}" for label, (hits, count) in rates.per_label.items())
        lines.append(
            f"- {system} perceives {cue} ({source}): UAR {_estimate(rates.uar)} %, "
            f"WAR {_estimate(rates.war)} %; right: {right}"
        )
        lines += _shares(found)
    return lines


def _shares(rows: Sequence[AttributionRow]) -> list[str]:
    from echat_eval.leaderboard.attribution import attribution_shares

    if not any(row.cue_awareness is not None for row in rows):
        return []
    of_label: dict[str, list[str]] = {}
    for share in attribution_shares(rows, by_label=True):
        if share.estimate.value:
            text = f"{share.outcome} {_estimate(share.estimate)} %"
            of_label.setdefault(f"{share.label} (n {share.estimate.n})", []).append(text)
    return [f"  - error attribution, {label}: {'; '.join(shares)}" for label, shares in of_label.items()]


def _rows(runs: _Runs) -> dict[tuple[str, str, str], list[AttributionRow]]:
    """Return (system, cue, source of the label) -> attribution rows.

    The label in the reply comes first, then the answer to `run --ask` about the same recording.
    """
    from echat_eval.leaderboard.attribution import AttributionRow

    grades = {(s.system, s.task, s.sample_id): s.evidence["grades"] for s in runs.judged}
    voice_metrics = {f"{metric}_voice" for metric in {s.metric for s in runs.judged}}
    voices = {
        (s.system, s.task, s.sample_id): s.value
        for s in runs.scores
        if s.metric in voice_metrics and s.state == "value"
    }
    answered = _answered(runs)
    rows: dict[tuple[str, str, str], list[AttributionRow]] = {}
    for ident, response in runs.responses.items():
        sample = runs.samples[ident[1:]]
        # An oracle is given the labels; its "perceived" is not a measurement.
        if ident[0] in runs.oracles or sample.asks is not None:
            continue
        perceived = response.reply.perceived if response.reply is not None else {}
        for cue, gold in sample.cues.items():
            label, source = perceived.get(cue), "named in its replies"
            if label is None:
                label, source = answered.get((*ident, cue)), "asked afterwards"
            if label is not None:
                rows.setdefault((response.system, cue, source), []).append(
                    AttributionRow(
                        cue=cue,
                        gold=gold,
                        cluster=runs.clusters[ident[1:]],
                        perceived=label,
                        cue_awareness=grades.get(ident, {}).get("cue_awareness"),
                        voice=voices.get(ident),
                    )
                )
    return rows


def _answered(runs: _Runs) -> dict[tuple[str, str, str, str], str]:
    """Return (system, task, sample, cue) -> the label answered to a probing question about the recording."""
    from echat_eval.scorers.understanding import WAR
    from echat_eval.task.probe import probed_name

    found = {}
    for score in runs.scores:
        asks = runs.samples[score.task, score.sample_id].asks
        if asks is None or score.metric != WAR.name or "answered" not in score.evidence:
            continue
        for task in {name for name, _ in runs.samples}:
            if score.task == probed_name(task, asks):
                found[score.system, task, score.sample_id, asks] = str(score.evidence["answered"])
    return found


def _estimate(found: Estimate) -> str:
    return f"{found.value:.1f} {_interval(found.low, found.high, 1)}"


def _interval(low: float | None, high: float | None, digits: int) -> str:
    return "(no interval)" if low is None or high is None else f"[{low:.{digits}f}, {high:.{digits}f}]"


def scored_earlier(run: RunFolder) -> list[str]:
    """Return the names of scorers whose scores come from an earlier command than the last."""
    return [name for name, facts in run.manifest().get("scorers", {}).items() if facts.get("earlier")]


def cost_lines(manifest: Mapping[str, Any]) -> list[str]:
    """Return the cost of a run over all its commands, one line per judge and system."""
    cost = manifest.get("cost", {})
    days = sorted({price["date"] for price in cost.get("prices", {}).values()})
    lines = []
    for role in ("judge", "system"):
        for name, entry in cost.get(f"{role}s", {}).items():
            money = " and ".join(
                f"{amount} {currency}" for currency, amount in sorted(entry["money"].items())
            )
            tokens = ", ".join(f"{n:,} {k.replace('_', ' ')}" for k, n in entry["tokens"].items() if n)
            line = f"- cost of {role} {name}: {money or 'money unknown'}, {entry['calls']:,} calls"
            line += f", tokens: {tokens}" if tokens else ""
            if money and entry["unpriced"]:
                line += f"; {entry['unpriced']:,} calls have no price"
            if entry["lost"]:
                upper_bound = " and ".join(f"{a} {c}" for c, a in sorted(entry["lost_at_most"].items()))
                line += f"; {entry['lost']:,} calls were interrupted and may have been billed"
                line += f", up to {upper_bound}" if upper_bound else ""
            lines.append(line + (f" (prices of {', '.join(days)})" if money else ""))
    return lines
