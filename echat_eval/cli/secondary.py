"""Secondary figures of a judged run: cue gain between floor and ceiling, and where systems went wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from echat_eval.cue_gain import Gain
    from echat_eval.records import Score
    from echat_eval.run_folder import RunFolder
    from echat_eval.stats import Estimate

__all__ = ["CEILING", "FLOOR", "gains_of", "secondary_lines"]

#: The same language model with the transcript only, and told the gold labels.
FLOOR, CEILING = "transcript-only", "gold-labels"


def gains_of(folder: RunFolder, metric: str) -> dict[str, Gain]:
    """Return system -> cue gain on a metric; empty unless the run holds the floor and the ceiling."""
    from echat_eval.cue_gain import paired_gain

    values: dict[str, dict[Hashable, float]] = {}
    for score in folder.scores().values():
        if score.metric == metric and score.value is not None:
            values.setdefault(score.system, {})[score.task, score.sample_id] = score.value
    if FLOOR not in values or CEILING not in values:
        return {}
    clusters = _clusters(folder)
    return {
        system: paired_gain(found, values[FLOOR], values[CEILING], clusters)
        for system, found in values.items()
        if system not in (FLOOR, CEILING) and set(found) & set(values[FLOOR]) & set(values[CEILING])
    }


def secondary_lines(folder: RunFolder) -> list[str]:
    """Return what stands under the leaderboard of a judged run; nothing where nothing was judged."""
    judged = [s for s in folder.scores().values() if "grades" in s.evidence]
    lines = []
    for metric in dict.fromkeys(score.metric for score in judged):
        for system, gain in gains_of(folder, metric).items():
            shown = (
                f"undefined: {gain.reason}" if gain.value is None
                else f"{gain.value:.2f} {_interval(gain.low, gain.high, 2)} (0 {FLOOR}, 1 {CEILING}; Fieller)"
            )  # fmt: skip
            lines.append(f"- cue gain of {system}, {metric}: {shown}")
    return lines + _where(folder, judged)


def _where(folder: RunFolder, judged: list[Score]) -> list[str]:
    from echat_eval.scorers.where import Row, recognition, where_it_went_wrong

    grades = {(s.system, s.task, s.sample_id): s.evidence["grades"] for s in judged}
    stems = tuple(dict.fromkeys(s.metric for s in judged))
    voices = {
        (s.system, s.task, s.sample_id): s.value
        for s in folder.scores().values()
        if s.metric in {f"{stem}_voice" for stem in stems} and s.state == "value"
    }
    samples, clusters = {(s.task, s.id): s for s in folder.samples()}, _clusters(folder)
    rows: dict[tuple[str, str], list[Row]] = {}
    # An oracle was told the labels; what it "perceives" says nothing.
    told = {name for name, facts in folder.manifest().get("systems", {}).items() if facts.get("oracle")}
    for ident, response in folder.responses().items():
        if ident[0] in told:
            continue
        sample = samples[ident[1:]]
        for cue, label in (response.reply.perceived if response.reply else {}).items():
            if cue in sample.cues:
                rows.setdefault((response.system, cue), []).append(
                    Row(
                        cue=cue, gold=sample.cues[cue], cluster=clusters[ident[1:]], perceived=label,
                        cue_awareness=grades.get(ident, {}).get("cue_awareness"), voice=voices.get(ident),
                    )
                )  # fmt: skip
    lines = []
    for (system, cue), found in rows.items():
        heard = recognition(cue, [(r.gold, r.perceived or "unknown", r.cluster) for r in found])
        lines.append(
            f"- {system} perceives {cue}: UAR {_estimate(heard.uar)} %, WAR {_estimate(heard.war)} %"
        )
        if any(r.cue_awareness is not None for r in found):
            lines += [
                f"  - {share.outcome}: {_estimate(share.estimate)} %"
                for share in where_it_went_wrong(found) if share.estimate.value
            ]  # fmt: skip
    return lines


def _clusters(folder: RunFolder) -> Mapping[Hashable, Hashable]:
    from echat_eval.leaderboard import clusters_of

    samples = folder.samples()
    return dict(zip(((s.task, s.id) for s in samples), clusters_of(samples), strict=True))


def _estimate(found: Estimate) -> str:
    return f"{found.value:.1f} {_interval(found.low, found.high, 1)}"


def _interval(low: float | None, high: float | None, digits: int) -> str:
    return "(no interval)" if low is None or high is None else f"[{low:.{digits}f}, {high:.{digits}f}]"
