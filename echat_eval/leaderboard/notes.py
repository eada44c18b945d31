"""What stands under a leaderboard of judged runs: who judged, gains, where it went wrong, controls, cost."""

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

#: The same language model with the transcript only, and told the gold labels.
FLOOR, CEILING = "transcript-only", "gold-labels"
Place = tuple[str, str, str]  # system, task, sample id


@dataclass(frozen=True)
class _Runs:
    """The rows of one or more run folders that stand in one leaderboard."""

    folders: Sequence[RunFolder]

    @cached_property
    def scores(self) -> list[Score]:
        return [score for folder in self.folders for score in folder.scores().values()]

    @cached_property
    def responses(self) -> dict[Place, Response]:
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
    """Return what stands under the leaderboard of some run folders; nothing where there is nothing to say."""
    from echat_eval.scorers.run_controls import control_notes
    from echat_eval.store.ledger import unfinished

    runs = _Runs(folders)
    lines = []
    for folder in folders:
        if lacking := unfinished(folder):
            lines.append(f"- NOT FINISHED ({folder.path}): {lacking}; the table is of those that are there")
        if names := scored_earlier(folder):
            lines.append(
                f"- scored by an earlier command, for their scorers were not configured in the last one "
                f'({folder.path}; "-": a reply they did not score): {", ".join(names)}'
            )
    lines += [*_who_judged(runs.judged), *_opinions(runs.judged), *_gains(runs), *_where(runs)]
    lines += [line for folder in folders for line in control_notes(folder)]
    return [*lines, *(line for folder in folders for line in cost_lines(folder.manifest()))]


def _who_judged(judged: Iterable[Score]) -> list[str]:
    """Say so where one column holds verdicts of several servers."""
    served: dict[str, set[tuple[str, str]]] = {}
    for score in judged:
        models, servers = score.evidence["models"], score.evidence["servers"]
        served.setdefault(score.metric, set()).update((m, s) for m in models for s in servers)
    return [
        f"- {metric}: verdicts of {len(found)} servers: "
        + ", ".join(f"{model} ({server or 'no fingerprint'})" for model, server in sorted(found))
        for metric, found in served.items()
        if len(found) > 1
    ]


def _opinions(judged: Iterable[Score]) -> list[str]:
    """Say how far second opinions on the emotion of a reply's voice agree with the ear that is believed."""
    from echat_eval.labels import UNKNOWN
    from echat_eval.scorers.transcripts import EMOTION_ANNOTATORS

    pairs: dict[tuple[str, str], list[bool]] = {}
    for score in judged:
        said = score.evidence.get("opinions", {})
        ears = [ear for ear in EMOTION_ANNOTATORS if ear in said]
        for other in ears[1:]:
            if UNKNOWN not in (said[ears[0]], said[other]):
                pairs.setdefault((ears[0], other), []).append(said[ears[0]] == said[other])
    return [
        f"- emotion of the voice: {second} hears what {first} hears in {sum(same)} of {len(same)} replies in "
        f"which both hear one; only {first} is believed"
        for (first, second), same in pairs.items()
    ]


def _gains(runs: _Runs) -> list[str]:
    lines = []
    for metric in dict.fromkeys(score.metric for score in runs.judged):
        for system, gain in gains_of(runs.scores, metric, runs.clusters).items():
            shown = (
                f"undefined: {gain.reason}"
                if gain.value is None
                else f"{gain.value:.2f} {_interval(gain.low, gain.high, 2)} (0 {FLOOR}, 1 {CEILING}; Fieller)"
            )
            lines.append(f"- cue gain of {system}, {metric}: {shown}")
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


def _where(runs: _Runs) -> list[str]:
    """Say what systems perceived, and where they went wrong: over all labels, then label by label."""
    from echat_eval.leaderboard.attribution import recognition

    lines = []
    for (system, cue, source), found in _rows(runs).items():
        heard = recognition(cue, [(r.gold, r.perceived or "unknown", r.cluster) for r in found])
        right = ", ".join(f"{label} {hits} of {count}" for label, (hits, count) in heard.per_label.items())
        lines.append(
            f"- {system} perceives {cue} ({source}): UAR {_estimate(heard.uar)} %, "
            f"WAR {_estimate(heard.war)} %; right: {right}"
        )
        lines += _shares(found)
    return lines


def _shares(rows: Sequence[AttributionRow]) -> list[str]:
    from echat_eval.leaderboard.attribution import where_it_went_wrong

    if not any(row.cue_awareness is not None for row in rows):
        return []
    of_label: dict[str, list[str]] = {}
    for share in where_it_went_wrong(rows, by_label=True):
        if share.estimate.value:
            text = f"{share.outcome} {_estimate(share.estimate)} %"
            of_label.setdefault(f"{share.label} (n {share.estimate.n})", []).append(text)
    return [f"  - where it went wrong, {label}: {'; '.join(shares)}" for label, shares in of_label.items()]


def _rows(runs: _Runs) -> dict[tuple[str, str, str], list[AttributionRow]]:
    """Return (system, cue, how that is known) -> what is known of every reply.

    What a system says in its reply is believed first; a system that says nothing there may have been
    asked afterwards, by `run --ask`, about the same recordings.
    """
    from echat_eval.leaderboard.attribution import AttributionRow

    grades = {(s.system, s.task, s.sample_id): s.evidence["grades"] for s in runs.judged}
    named = {f"{metric}_voice" for metric in {s.metric for s in runs.judged}}
    voices = {
        (s.system, s.task, s.sample_id): s.value
        for s in runs.scores
        if s.metric in named and s.state == "value"
    }
    answered = _answered(runs)
    rows: dict[tuple[str, str, str], list[AttributionRow]] = {}
    for ident, response in runs.responses.items():
        sample = runs.samples[ident[1:]]
        # An oracle was told the labels; what it "perceives" says nothing.
        if ident[0] in runs.oracles or sample.asks is not None:
            continue
        said = response.reply.perceived if response.reply is not None else {}
        for cue, gold in sample.cues.items():
            label, source = said.get(cue), "as its replies say"
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
    """Return (system, task, sample, cue) -> the label it answered when asked about that task's recording."""
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
    """Return the names of scorers whose scores are of an earlier command than the last one."""
    return [name for name, facts in run.manifest().get("scorers", {}).items() if facts.get("earlier")]


def cost_lines(manifest: Mapping[str, Any]) -> list[str]:
    """Return what a run has cost so far, over all its commands, a line per judge and system."""
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
                line += f"; {entry['unpriced']:,} of the calls have no price"
            if entry["lost"]:
                most = " and ".join(f"{a} {c}" for c, a in sorted(entry["lost_at_most"].items()))
                line += f"; {entry['lost']:,} calls broke off and may have been paid for"
                line += f", with up to {most}" if most else ""
            lines.append(line + (f" (prices of {', '.join(days)})" if money else ""))
    return lines
