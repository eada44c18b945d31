"""The tests of `check task` for a cue: its label from words, files and all else that is not the voice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from echat_eval.checks.task_data import text_of
from echat_eval.checks.task_features import (
    decibel_features,
    indicators,
    order_features,
    relative,
    standardised,
)
from echat_eval.checks.task_finding import Finding
from echat_eval.checks.task_leaks import ALLOWED, POWER, SEEN, best_possible, leak_of
from echat_eval.checks.task_words import STRENGTH, embeddings, word_features
from echat_eval.errors import NotInstalled
from echat_eval.io.display import number_text
from echat_eval.stats.factors import numbered

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from echat_eval.checks.softmax import Features
    from echat_eval.checks.task_audio import Recording
    from echat_eval.checks.task_data import Labelled, TaskData
    from echat_eval.checks.task_finding import FindingState, Section
    from echat_eval.checks.task_leaks import Leak
    from echat_eval.records import Sample

    Codes = NDArray[np.int64]

__all__ = ["Source", "cue_findings"]

#: Values of a category that are listed.
_LISTED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Something that a label must not follow from.

    Attributes:
        check: name of the check.
        section: leaks or confounds.
        remedy: what to do.
        features: (samples, columns).
        values: (samples,) numbers of a category; None: there is no category.
        names: names of the values.
        measures: (samples,) a number that people can read; its means by label are listed. None: none.
        unit: of `measures`.
        strength: of the classifier.
        same: what all samples share if there is nothing to predict from.
    """

    check: str
    section: Section
    remedy: str
    features: Features
    values: Codes | None = None
    names: Sequence[str] = ()
    measures: Sequence[float] | None = None
    unit: str = ""
    strength: float = 1.0
    same: str = "the same for every sample"


def cue_findings(
    data: TaskData,
    cue: str,
    recordings: Sequence[Recording] | None,
    *,
    embedding: bool,
) -> list[Finding]:
    """Return whether a cue's label follows from anything beside the voice.

    Args:
        data: the task.
        cue: name of the cue.
        recordings: measures of all samples' recordings; None: those checks are left out.
        embedding: also test the sentence embedding.
    """
    all_labels = data.labelled(cue)
    labelled = all_labels.testable()
    if len(labelled.labels) < 2:
        shown = ", ".join(all_labels.labels)
        return [
            Finding(
                check="words",
                section="leaks",
                state="cannot tell",
                cue=cue,
                message=f"fewer than two labels have two groups or more ({shown}), so no test is possible",
                remedy="add groups of other labels",
            )
        ]
    found = []
    for source in _sources(data, labelled, recordings, embedding):
        found.append(source if isinstance(source, Finding) else _tested(labelled, source))
    if left_out := [label for label in all_labels.labels if label not in labelled.labels]:
        note = f"left out, because too few groups have them: {', '.join(left_out)}"
        found = [replace(f, details=(*f.details, note)) if "recall" in f.numbers else f for f in found]
    return found


def _sources(
    data: TaskData,
    labelled: Labelled,
    recordings: Sequence[Recording] | None,
    embedding: bool,
) -> Iterator[Source | Finding]:
    samples = [data.samples[row] for row in labelled.rows]
    texts = numbered([text_of(sample) for sample in samples])
    alike = "put sentences into contrast groups with every label, or write each label's sentences alike"
    yield Source(
        check="words",
        section="leaks",
        remedy=alike,
        features=word_features(samples),
        values=texts,
        strength=STRENGTH,
    )
    yield _embedding(samples, labelled, texts, alike, wanted=embedding)
    if recordings is not None:
        yield from _file_sources([recordings[row] for row in labelled.rows], labelled)
    yield Source(
        check="order",
        section="leaks",
        remedy="shuffle the rows",
        features=order_features(len(data), labelled.rows, labelled.groups),
    )
    yield from _categories(data, samples, labelled)
    if recordings is not None:
        measured = [recordings[row] for row in labelled.rows]
        yield _level(measured, labelled)
        yield _peak(measured, labelled)


def _embedding(
    samples: Sequence[Sample],
    labelled: Labelled,
    texts: Codes,
    remedy: str,
    *,
    wanted: bool,
) -> Source | Finding:
    absent = Finding(
        check="embedding",
        section="leaks",
        state="not checked",
        cue=labelled.cue.name,
        message="the sentence embedding was not asked for",
        remedy="add --embedding",
    )
    if best_possible(labelled, texts) <= labelled.chance + ALLOWED:  # nothing that depends on words can
        return Source(
            check="embedding", section="leaks", remedy=remedy, features=word_features(samples), values=texts
        )
    if not wanted:
        return absent
    try:
        features = embeddings(samples)
    except NotInstalled as error:
        return replace(absent, message=str(error), remedy="")
    return Source(
        check="embedding", section="leaks", remedy=remedy, features=features, values=texts, strength=STRENGTH
    )


def _file_sources(recordings: Sequence[Recording], labelled: Labelled) -> Iterator[Source]:
    seconds = np.array([r.seconds for r in recordings])
    yield Source(
        check="duration",
        section="leaks",
        remedy="give the recordings of a group one length: begin at a random moment, fill with faint noise",
        features=relative(seconds, labelled.groups),
        measures=seconds.tolist(),
        unit="s",
        same="every recording has the same length",
    )
    yield from _ends(recordings, labelled)
    rates = np.array([r.bytes / r.seconds for r in recordings])
    yield Source(
        check="size",
        section="leaks",
        remedy="write every recording with the same encoding, such as 16-bit WAV",
        features=relative(np.round(np.log(rates), 2), labelled.groups),
        measures=(rates / 1000).tolist(),
        unit="kB/s",
        same="the size follows from the length alone",
    )
    forms, codes = indicators([r.form for r in recordings])
    yield Source(
        check="format",
        section="confounds",
        remedy="write every recording in one format",
        features=forms,
        values=codes,
        names=[r.form for r in recordings],
        same=f"every recording is {recordings[0].form}",
    )


def _ends(recordings: Sequence[Recording], labelled: Labelled) -> Iterator[Source]:
    """Yield the silence at both ends and the DC offset, which padding and editing leave behind."""
    for check, seconds in (
        ("silence-before", np.array([r.before for r in recordings])),
        ("silence-after", np.array([r.after for r in recordings])),
    ):
        yield Source(
            check=check,
            section="leaks",
            remedy="begin the speech at a random moment, and fill both ends with faint noise",
            features=relative(seconds, labelled.groups),
            measures=seconds.tolist(),
            unit="s",
        )
    # In thousandths of full scale; without squares, which would follow the level.
    centres = np.round(np.array([r.centre for r in recordings]), 3)
    counts = np.bincount(labelled.groups)
    beside = centres - (np.bincount(labelled.groups, weights=centres) / counts)[labelled.groups]
    yield Source(
        check="dc-offset",
        section="leaks",
        remedy="subtract the mean of every recording from its samples",
        features=standardised([centres, beside]),
        measures=(100 * centres).tolist(),
        unit="% of full scale",
        same="every recording has the same mean",
    )


def _level(recordings: Sequence[Recording], labelled: Labelled) -> Source:
    return Source(
        check="level",
        section="confounds",
        remedy="scale the recordings to one level",
        features=decibel_features([r.level for r in recordings], labelled.groups),
        measures=[-100.0 if r.level is None else r.level for r in recordings],
        unit="dB",
        same="every recording is within half a dB of the median",
    )


def _peak(recordings: Sequence[Recording], labelled: Labelled) -> Source:
    """Return the peak above the level, which a filter or another voice changes and scaling does not."""
    crests = [r.crest for r in recordings]
    return Source(
        check="peak",
        section="confounds",
        remedy="record or make every label in the same way, or limit all peaks to one height above the level",
        features=decibel_features(crests, labelled.groups),
        measures=[0.0 if crest is None else crest for crest in crests],
        unit="dB above the level",
        same="every peak is within half a dB of the median",
    )


def _categories(data: TaskData, samples: Sequence[Sample], labelled: Labelled) -> Iterator[Source | Finding]:
    if data.has_speakers:
        if labelled.cue.trait:
            yield _speakers_of_trait(samples, labelled)
        else:
            yield _category("speaker", "record every label with every speaker", labelled, _speakers(samples))
    else:
        yield Finding(
            check="speaker",
            section="confounds",
            state="not checked",
            cue=labelled.cue.name,
            message="not every sample states its speaker",
            remedy="add `speaker` to the rows",
        )
    for check, values in (
        ("source", [sample.source for sample in samples]),
        ("language", [sample.language for sample in samples]),
    ):
        yield _category(check, f"take every label from every {check}", labelled, values)
    for other in sorted({name for sample in samples for name in sample.cues} - {labelled.cue.name}):
        values = [sample.cues.get(other, "not stated") for sample in samples]
        yield _category(other, f"combine every label with every label of {other}", labelled, values)


def _speakers(samples: Sequence[Sample]) -> list[str]:
    return [sample.speaker or "" for sample in samples]


def _category(check: str, remedy: str, labelled: Labelled, values: Sequence[str]) -> Source:
    features, codes = indicators(values)
    return Source(
        check=check,
        section="confounds",
        remedy=remedy,
        features=features,
        values=codes,
        names=values,
        same=f"one {check}: {values[0]}",
    )


def _speakers_of_trait(samples: Sequence[Sample], labelled: Labelled) -> Finding:
    """Return whether each label of a cue that belongs to the speaker has more than one speaker."""
    speakers = {
        label: len({s.speaker for s in samples if s.cues[labelled.cue.name] == label})
        for label in labelled.labels
    }
    alone = [label for label, count in speakers.items() if count < 2]
    counts = ", ".join(f"{label} {count}" for label, count in speakers.items())
    return Finding(
        check="speaker",
        section="confounds",
        state="fault" if alone else "pass",
        cue=labelled.cue.name,
        message=f"speakers of each label: {counts}"
        + (f"; one person is all of {', '.join(alone)}" if alone else ""),
        remedy="record each label with several speakers" if alone else "",
        numbers={"speakers": speakers},
    )


def _tested(labelled: Labelled, source: Source) -> Finding:
    """Return the finding of one test."""
    no_leak = Finding(
        check=source.check, section=source.section, state="pass", cue=labelled.cue.name, message=source.same
    )
    if source.features.shape[1] == 0:
        return no_leak
    leak = leak_of(labelled, source.features, values=source.values, strength=source.strength)
    if leak.recall is None and leak.excluded:
        text = f"no better than chance ({_percent(leak.chance)}) by design: every label is equally frequent"
        return replace(no_leak, message=f"{text} in each", numbers={"best": leak.best, "chance": leak.chance})
    state: FindingState = "fault" if leak.refused else "pass" if leak.excluded else "cannot tell"
    details = [*_by_label(labelled, source), *_by_value(labelled, source)] if state != "pass" else []
    return replace(
        no_leak,
        state=state,
        message=_recall_text(leak),
        remedy=source.remedy if leak.refused else "",
        details=tuple(details),
        numbers=_numbers(leak),
    )


def _recall_text(leak: Leak) -> str:
    if leak.recall is None:
        return "one group, so nothing can be shown"
    found = leak.recall
    interval = (
        "no interval"
        if found.low is None or found.high is None
        else f"[{number_text(found.low, 1)}, {number_text(found.high, 1)}]"
    )
    needed = (
        f"no number of groups shows a leak of {SEEN:g} points"
        if leak.needed is None
        else f"{leak.needed} groups would show a leak of {SEEN:g} points"
    )
    beside = f"chance {_percent(leak.chance)}, {leak.groups} groups"
    return f"recall {_percent(found.value)} {interval}, {beside}; {needed}"


def _percent(value: float) -> str:
    return f"{number_text(value, 1)} %"


def _numbers(leak: Leak) -> dict[str, object]:
    found = leak.recall
    return {
        "recall": None if found is None else found.value,
        "low": None if found is None else found.low,
        "high": None if found is None else found.high,
        "chance": leak.chance,
        "allowed": leak.chance + ALLOWED,
        "best": leak.best,
        "per_label": leak.per_label,
        "groups": leak.groups,
        "needed": leak.needed,
        "power": POWER,
    }


def _by_label(labelled: Labelled, source: Source) -> list[str]:
    """Return the means of a measure by label."""
    if source.measures is None:
        return []
    x = np.asarray(source.measures)
    means = {label: float(x[labelled.codes == code].mean()) for code, label in enumerate(labelled.labels)}
    listed = ", ".join(
        f"{label} {number_text(mean, 2 if source.unit == 's' else 1)}" for label, mean in means.items()
    )
    return [f"mean in {source.unit}: {listed}"]


def _by_value(labelled: Labelled, source: Source) -> list[str]:
    """Return the values of a category whose labels differ most from those of all samples."""
    if not source.names or source.values is None:
        return []
    overall = Counter(labelled.codes.tolist())
    total = len(labelled.codes)
    by_name: dict[str, Counter[int]] = {}
    for name, code in zip(source.names, labelled.codes.tolist(), strict=True):
        by_name.setdefault(name, Counter())[code] += 1
    found = []
    for name, own in by_name.items():
        count = own.total()
        code, most = max(own.items(), key=lambda item: item[1] / count - overall[item[0]] / total)
        found.append(
            (most - count * overall[code] / total, f"{name}: {labelled.labels[code]} {most} of {count}")
        )
    return [text for _, text in sorted(found, reverse=True)[:_LISTED]]
