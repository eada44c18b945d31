"""The listening gap: what a system can name when asked, minus what it acts on, on one scale.

Both sides answer the same two-way question about two recordings with the same words, whose cue differs:

    asked     the answer to `run --ask CUE` about a recording: does it name the label of that recording, or
              that of the other one? Neither counts half. A sample's value is the mean over its pairs, as in
              a match rate, and equals the share of right answers to "which of these two is the sad one?"
              over both labels: who is named, and who is not.
    matched   the match rate of its reply, by an instrument: a proxy, a judge, or people

Groups whose words suggest a label by themselves (`words_suggest` of their samples), so that some voice speaks
against them, have gaps of their own: a system that follows the words has 50 % on both sides there as well.

A system that ignores the voice has 50 % on both sides. Groups marked `expect: same` have no match rate, so
nothing is subtracted there. The gap is a paired difference over the samples that have both sides, with the
interval of `analysis.differences` over speakers and sentences, and with missing rows at their worst and best.

The normalised gap divides each side by what can be reached: 50 points above chance when asked, and for
replies what the replies that people wrote (the oracle `reference`) reach under the same instrument.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from echat_eval.labels import is_right
from echat_eval.labels.declared import cues_of
from echat_eval.leaderboard.by_voice import CEILING
from echat_eval.leaderboard.cue_gain import paired_gain
from echat_eval.leaderboard.gap_ratings import rated_gap
from echat_eval.records import JudgeEvidence
from echat_eval.scorers.contrast import choice, match_term
from echat_eval.scorers.understanding import WAR
from echat_eval.stats import cluster_mean
from echat_eval.task.probe import probed_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from echat_eval.analysis.differences import ImputedEstimates
    from echat_eval.records import Metric, Sample, Score, State
    from echat_eval.stats import Estimate, Unit

__all__ = ["CHANCE", "Instrument", "ListeningGap", "Outcome", "gaps_of", "instruments_of", "listening_gaps"]

#: Both sides of a system that ignores the voice, in percent.
CHANCE = 50.0

Ident = tuple[str, str]  # task, sample id


class Outcome(NamedTuple):
    """One side of one sample: its state, and its value in percent if it has one."""

    state: State
    value: float | None


class Named(NamedTuple):
    """One answer about one sample: its state, and the label that it names, if any."""

    state: State
    label: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """The judge, people or proxy that decided which voice replies answer.

    Attributes:
        name: in files, such as "match_rate_proxy".
        title: in tables.
        rows: (system, task, sample id) -> match rate of the reply.
        ratings: of people, (system, task, sample id) -> rater and value in percent of each rating; `rows` has
            their means.
    """

    name: str
    title: str
    rows: Mapping[tuple[str, str, str], Outcome]
    ratings: Mapping[tuple[str, str, str], Sequence[tuple[str, float]]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListeningGap:
    """The gap of one system and cue by one instrument.

    Attributes:
        against_words: of groups whose words suggest a label; False: of the other groups.
        tasks: the dialogue tasks of the samples, in order.
        answered, matched: both sides in percent, over the same samples; `answered` when asked.
        gap: asked minus matched, paired.
        normalised: the gap in percent of what can be reached; None: the replies of people were not measured,
            or are not above chance.
        left_out: samples with a match rate that count on neither side: not asked, or compared also with a
            voice that has the same label.
    """

    system: str
    cue: str
    instrument: Instrument
    tasks: tuple[str, ...]
    answered: ImputedEstimates
    matched: ImputedEstimates
    gap: ImputedEstimates
    normalised: Estimate | None
    left_out: int
    against_words: bool = False

    @property
    def items(self) -> str:
        """Return the cue, and that the words speak against the voice."""
        return f"{self.cue}, words against voice" if self.against_words else self.cue


@dataclass(frozen=True, slots=True)
class _Pairing:
    """Both sides of the samples of one system, cue and instrument."""

    answered: dict[Ident, Outcome]
    matched: dict[Ident, Outcome]
    left_out: int


def gaps_of(
    scores: Sequence[Score],
    samples: Mapping[Ident, Sample],
    metrics: Iterable[Metric],
    units: Mapping[Ident, Unit],
) -> tuple[ListeningGap, ...]:
    """Return the gaps by every match rate among the metrics; empty without answers to `run --ask`."""
    return listening_gaps(scores, samples, instruments_of(scores, metrics), units)


def instruments_of(scores: Iterable[Score], metrics: Iterable[Metric]) -> list[Instrument]:
    """Return the match rates among metrics, from 0 to 100 %, as instruments."""
    found: dict[str, dict[tuple[str, str, str], Outcome]] = {
        m.name: {} for m in metrics if m.by_voice and (m.low, m.high) == (0, 100) and m.average == "mean"
    }
    for s in scores:
        if s.metric in found:
            value = 0.0 if s.state == "failed" and s.value is None else s.value
            found[s.metric][s.system, s.task, s.sample_id] = Outcome(s.state, value)
    titles = {m.name: m.title for m in metrics}
    return [Instrument(name=name, title=titles[name], rows=rows) for name, rows in found.items()]


def listening_gaps(
    scores: Iterable[Score],
    samples: Mapping[Ident, Sample],
    instruments: Sequence[Instrument],
    units: Mapping[Ident, Unit],
) -> tuple[ListeningGap, ...]:
    """Return the gaps of every system, cue and instrument with answers and match rates; the cues in order.

    Args:
        scores: of `understanding_war`, whose evidence has the answers; others are not read.
        samples: (task, sample id) -> sample, of dialogue tasks and of the tasks that ask about them.
        instruments: match rates of the replies.
        units: (task, sample id) -> speaker and sentence.
    """
    answers = _answers(scores, samples)
    if not answers:
        return ()
    groups = _groups(samples)
    gaps = []
    for instrument in instruments:
        systems = dict.fromkeys(system for system, *_ in instrument.rows)
        for cue in cues_of(samples.values()):
            for system in systems:
                if found := answers.get((system, cue)):
                    rates = {ident[1:]: o for ident, o in instrument.rows.items() if ident[0] == system}
                    for against_words in (False, True):
                        selected = [g for g in groups if (cue in (g[0].words_suggest or {})) == against_words]
                        pairing = _pairing(cue, found, rates, selected)
                        if pairing.answered:
                            gap = _gap(system, cue, instrument, pairing, units)
                            gaps.append(replace(gap, against_words=against_words))
    return tuple(gaps)


def _answers(
    scores: Iterable[Score], samples: Mapping[Ident, Sample]
) -> dict[tuple[str, str], dict[Ident, list[Named]]]:
    """Return (system, cue) -> dialogue sample -> the answers about it, by repeat."""
    cues, tasks = cues_of(samples.values()), {s.task for s in samples.values() if s.asks is None}
    dialogue_of = {probed_name(task, cue): (task, cue) for task in tasks for cue in cues}
    found: dict[tuple[str, str], dict[Ident, list[Named]]] = {}
    for score in scores:
        if score.metric != WAR.name or score.task not in dialogue_of or score.state == "not applicable":
            continue
        task, cue = dialogue_of[score.task]
        if samples[score.task, score.sample_id].asks == cue:
            found.setdefault((score.system, cue), {})[task, score.sample_id] = _named_labels(score)
    return found


def _named_labels(score: Score) -> list[Named]:
    """Return state and label of every repeat of an answer."""
    evidence = {} if isinstance(score.evidence, JudgeEvidence) else score.evidence
    repeats = evidence.get("repeats") if score.state != "missing" else None
    return [
        Named(repeat.get("state", score.state), repeat.get("answered")) for repeat in (repeats or [evidence])
    ]


def _groups(samples: Mapping[Ident, Sample]) -> list[list[Sample]]:
    """Return the contrast groups in which a good reply differs, each in the order of its ids."""
    found: dict[tuple[str, str], list[Sample]] = {}
    for sample in samples.values():
        if sample.contrast_group is not None and sample.asks is None and sample.expect is None:
            found.setdefault((sample.task, sample.contrast_group), []).append(sample)
    return [sorted(group, key=lambda sample: sample.id) for group in found.values()]


def _pairing(
    cue: str,
    answers: Mapping[Ident, Sequence[Named]],
    rates: Mapping[Ident, Outcome],
    groups: Sequence[Sequence[Sample]],
) -> _Pairing:
    """Return both sides of the samples all of whose pairs differ in the cue."""
    answered: dict[Ident, Outcome] = {}
    matched: dict[Ident, Outcome] = {}
    left_out = 0
    no_rate = {ident for ident, rate in rates.items() if rate.state == "not applicable"}
    for group in groups:
        compared = [s for s in group if (s.task, s.id) not in no_rate]
        for sample in compared:
            ident = sample.task, sample.id
            others = [other for other in compared if other.cues != sample.cues]
            differ = [o for o in others if cue in sample.cues and o.cues.get(cue) != sample.cues[cue]]
            if ident not in rates or not differ:
                continue
            idents = [ident, *((other.task, other.id) for other in others)]
            if len(differ) < len(others) or not all(i in answers for i in idents):
                left_out += 1
                continue
            repeats = min(len(answers[i]) for i in idents)
            answered[ident] = _mean_outcome(
                [_asked(cue, sample, others, {i: answers[i][n] for i in idents}) for n in range(repeats)]
            )
            lacks = any(i in rates and rates[i].state == "missing" for i in idents)
            unknown = lacks and rates[ident].state != "failed"
            matched[ident] = Outcome("missing", None) if unknown else rates[ident]
    return _Pairing(answered, matched, left_out)


def _mean_outcome(repeats: Sequence[Outcome]) -> Outcome:
    """Return the mean over repeats, by the rule of `store.repeats.averaged_scores`."""
    values = [outcome.value for outcome in repeats if outcome.value is not None]
    if len(values) < len(repeats):
        return Outcome("missing", None)
    failed = any(outcome.state == "failed" for outcome in repeats)
    return Outcome("failed" if failed else "value", sum(values) / len(values))


def _asked(cue: str, sample: Sample, others: Sequence[Sample], answers: Mapping[Ident, Named]) -> Outcome:
    """Return how often the answers about a sample's pairs name their own label; the rule of a match rate."""
    states = [answers[s.task, s.id].state for s in (sample, *others)]
    if states[0] == "failed":
        return Outcome("failed", 0.0)
    if "missing" in states:  # a pair without one of its answers could have any value
        return Outcome("missing", None)
    terms = [
        match_term(
            _named(cue, sample, other, answers),
            None if state == "failed" else _named(cue, other, sample, answers),
        )
        for other, state in zip(others, states[1:], strict=True)
    ]
    return Outcome("value", sum(terms) / len(terms))


def _named(cue: str, own: Sample, other: Sample, answers: Mapping[Ident, Named]) -> tuple[float, float]:
    """Return which of the labels of two samples the answer about the first names, as fits of a choice."""
    label = answers[own.task, own.id].label
    return choice(float(is_right(own.cues[cue], label)), float(is_right(other.cues.get(cue, ""), label)))


def _gap(
    system: str, cue: str, instrument: Instrument, pairing: _Pairing, units: Mapping[Ident, Unit]
) -> ListeningGap:
    from echat_eval.analysis.differences import difference, level
    from echat_eval.analysis.metric_rule import MetricRule
    from echat_eval.analysis.pairs import UNIT

    idents = list(pairing.answered)
    codes = [units[ident] for ident in idents]

    def side(rows: Mapping[Ident, Outcome], prefix: str, value: str) -> dict[str, Sequence[object]]:
        return {
            f"{prefix}state": [rows[i].state for i in idents],
            value: [float("nan") if (v := rows[i].value) is None else v for i in idents],
            f"{prefix}weight": [1.0] * len(idents),
        }

    answered, matched = pairing.answered, pairing.matched
    facts: dict[str, Sequence[object]] = {
        "metric": [instrument.name] * len(idents),
        "label": [None] * len(idents),
        "same_reply": [False] * len(idents),
        **{name: [unit[n] for unit in codes] for n, name in enumerate(UNIT)},
    }
    rows = {**facts, **side(answered, "", "value"), **side(matched, "against_", "against")}
    own = {**facts, **side(matched, "", "value")}
    rule = MetricRule(higher_is_better=True, low=0, high=100, worst=0)
    found = ListeningGap(
        system=system,
        cue=cue,
        instrument=instrument,
        tasks=tuple(dict.fromkeys(task for task, _ in idents)),
        answered=level(rows, rule, coverage=0.95, min_clusters=2),
        matched=level(own, rule, coverage=0.95, min_clusters=2),
        gap=difference(rows, rule, coverage=0.95, min_clusters=2),
        normalised=_normalised(system, instrument, pairing, units),
        left_out=pairing.left_out,
    )
    return found if instrument.ratings is None else _over_raters(found, instrument.ratings, pairing, units)


def _over_raters(
    gap: ListeningGap,
    ratings: Mapping[tuple[str, str, str], Sequence[tuple[str, float]]],
    pairing: _Pairing,
    units: Mapping[Ident, Unit],
) -> ListeningGap:
    """Return a gap by people with means over ratings, and intervals over raters and replies.

    The normalised gap loses its interval if there are several raters: the replies of people that it divides
    by have the same raters, whose strictness is on both sides.
    """
    if gap.gap.observed is None:
        return gap
    found = rated_gap(
        {ident[1:]: rows for ident, rows in ratings.items() if ident[0] == gap.system},
        {ident: outcome.value for ident, outcome in pairing.answered.items()},
        units,
    )
    normalised = gap.normalised
    if normalised is not None and found.raters > 1:
        normalised = replace(normalised, low=None, high=None)
    return replace(
        gap,
        answered=replace(gap.answered, estimates=found.answered),
        matched=replace(gap.matched, estimates=(found.matched,) * 3),
        gap=replace(gap.gap, estimates=found.gap),
        normalised=normalised,
    )


def _normalised(
    system: str, instrument: Instrument, pairing: _Pairing, units: Mapping[Ident, Unit]
) -> Estimate | None:
    """Return the gap between shares of what can be reached, in percent, over samples with all three values.

    The interval is the delta method's: the residual of the ratio matched / people is its linear part.
    """
    people = {ident[1:]: o.value for ident, o in instrument.rows.items() if ident[0] == CEILING}
    answered, matched, reached = (
        {i: value for i in pairing.answered if (value := side(i)) is not None}
        for side in (lambda i: pairing.answered[i].value, lambda i: pairing.matched[i].value, people.get)
    )
    shared = [i for i in answered if i in matched and i in reached]
    if system == CEILING or not shared:
        return None
    replies = {i: matched[i] for i in shared}
    share = paired_gain(replies, dict.fromkeys(shared, CHANCE), reached, units)
    if share.value is None or share.room.value <= 0:
        return None
    values = [
        (answered[i] - CHANCE) / CHANCE
        - share.value
        - (replies[i] - CHANCE - share.value * (reached[i] - CHANCE)) / share.room.value
        for i in shared
    ]
    return cluster_mean([100 * value for value in values], [units[i] for i in shared])
