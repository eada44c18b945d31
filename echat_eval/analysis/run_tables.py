"""The rows of a run folder as data frames: samples, responses, annotations, scores and verdicts.

Every table but `samples_table` starts with `system`, `task` and `sample_id`, and every table ends with the
facts of the sample, `SAMPLE_COLUMNS`, and one column `cue_<name>` per cue with the gold label (None if the
sample does not have the cue):

    speaker_cluster     samples with the same number have the same speaker
    sentence_cluster    samples with the same number share a transcript or, within a task, a contrast group;
                        samples that share either cluster vary together
    speaker, transcript, contrast_group, language, source       as in `Sample`
    label               the gold label that macro means average over; None if the sample has several cues
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from echat_eval.analysis.frames import IN_ALL
from echat_eval.io.schema import (
    STRING,
    TEXT,
    Rule,
    Schema,
    list_of,
    mapping_of,
    number,
    read_schema_rows,
    whole,
)
from echat_eval.labels import gold_label
from echat_eval.records import AudioRef, JudgeEvidence
from echat_eval.stats.factors import units_of
from echat_eval.store.in_all import left_out_of_all

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pandas as pd

    from echat_eval.records import Score
    from echat_eval.store.run_folder import RunFolder

__all__ = [
    "SAMPLE_COLUMNS",
    "annotations_table",
    "long_table",
    "responses_table",
    "samples_table",
    "scores_table",
    "verdicts_table",
]

SAMPLE_COLUMNS = (
    "speaker_cluster",
    "sentence_cluster",
    "speaker",
    "transcript",
    "contrast_group",
    "language",
    "source",
    "label",
)
_IDENT = ("system", "task", "sample_id")


def samples_table(run: RunFolder) -> pd.DataFrame:
    """Return one row per sample.

    Columns: task, sample_id; audio (path), seconds, references (texts), turns (number of earlier ones), asks,
    instruction; and the facts of the sample.
    """
    rows = [
        {
            "task": sample.task,
            "sample_id": sample.id,
            "audio": str(sample.audio.path),
            "seconds": sample.audio.seconds,
            "references": sample.references,
            "turns": len(sample.history or sample.turns or ()),
            "asks": sample.asks,
            "instruction": sample.instruction,
        }
        for sample in run.samples()
    ]
    own = ("audio", "seconds", "references", "turns", "asks", "instruction")
    return _frame(run, rows, own, ident=("task", "sample_id"))


def responses_table(run: RunFolder) -> pd.DataFrame:
    """Return one row per system and sample.

    Columns: system, task, sample_id; state, reason, text, audio (path), audio_seconds, think, reply_emotion,
    first_audio_seconds, first_audible_seconds, round_trip_seconds, interruptions, seconds, finish_reason,
    tries, cached; of live dialogues earlier_replies (texts of the system's replies before the last one);
    `perceived_<cue>` for every label that a system reported; and the facts of the sample.
    """
    rows = []
    has_dialogues = False
    perceived: dict[str, None] = {}
    for response in run.responses().values():
        reply = response.reply
        audio = reply.audio if reply is not None and isinstance(reply.audio, AudioRef) else None
        labels = {f"perceived_{cue}": label for cue, label in (reply.perceived if reply else {}).items()}
        perceived |= dict.fromkeys(labels)
        turns = response.turns
        has_dialogues = has_dialogues or turns is not None
        rows.append(
            {
                "system": response.system,
                "task": response.task,
                "sample_id": response.sample_id,
                "state": response.state,
                "reason": response.reason,
                "text": None if reply is None else reply.text,
                "audio": None if audio is None else str(audio.path),
                "audio_seconds": None if audio is None else audio.seconds,
                "think": None if reply is None else reply.think,
                "reply_emotion": None if reply is None else reply.reply_emotion,
                "first_audio_seconds": None if reply is None else reply.first_audio_seconds,
                "first_audible_seconds": None if reply is None else reply.first_audible_seconds,
                "round_trip_seconds": None if reply is None else reply.round_trip_seconds,
                "interruptions": None if reply is None else reply.interruptions,
                "seconds": response.seconds,
                "finish_reason": None if reply is None else reply.finish_reason,
                "tries": response.tries,
                "cached": response.cached,
                "earlier_replies": None if turns is None else tuple(turn.text for turn in turns),
                **labels,
            }
        )
    own = (
        "state",
        "reason",
        "text",
        "audio",
        "audio_seconds",
        "think",
        "reply_emotion",
        "first_audio_seconds",
        "first_audible_seconds",
        "round_trip_seconds",
        "interruptions",
        "seconds",
        "finish_reason",
        "tries",
        "cached",
        *(["earlier_replies"] if has_dialogues else []),
        *sorted(perceived),
    )
    return _frame(run, rows, own)


def annotations_table(run: RunFolder) -> pd.DataFrame:
    """Return one row per system, sample, annotator and value; one without a name where there is no value.

    Columns: system, task, sample_id; annotator, state, reason, name, value (a number, text, list or mapping);
    and the facts of the sample.
    """
    rows = []
    for annotation in run.annotations().values():
        values: list[tuple[str | None, Any]] = [*annotation.values.items()] or [(None, None)]
        rows += [
            {
                "system": annotation.system,
                "task": annotation.task,
                "sample_id": annotation.sample_id,
                "annotator": annotation.annotator,
                "state": annotation.state,
                "reason": annotation.reason,
                "name": name,
                "value": value,
            }
            for name, value in values
        ]
    return _frame(run, rows, ("annotator", "state", "reason", "name", "value"))


def scores_table(run: RunFolder) -> pd.DataFrame:
    """Return one row per system, sample and metric.

    Columns: system, task, sample_id; metric, state, value (NaN without one), weight (the denominator of a
    ratio metric, else 1), reason, in_all ("no": in no mean over all tasks); and the facts of the sample.
    """
    apart = left_out_of_all(run.manifest().metrics, run.samples())
    rows = [
        {**_ident_of(score), "state": score.state, "value": score.value, "weight": score.weight}
        | {"reason": score.reason, IN_ALL: "no" if apart(score) else None}
        for score in run.scores().values()
    ]
    frame = _frame(run, rows, ("metric", "state", "value", "weight", "reason", IN_ALL))
    return frame.astype({"value": float, "weight": float})


def long_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table without the columns that `scores_table` adds to those of a long table (see `frames`)."""
    own = ("reason", "speaker_cluster", "sentence_cluster")
    added = [name for name in frame.columns if name in own or str(name).startswith("cue_")]
    return frame.drop(columns=added)


_VERDICT = Schema(
    {
        "voice": number().optional(),
        "reason": STRING.optional(),
        "grades": mapping_of(number(), "an object of numbers"),
    },
    closed=False,
)
#: The facts of verdicts.jsonl that the table has; their store checks all of them.
_RULING = Schema(
    {
        "key": TEXT,
        "verdict": Rule(_VERDICT.holds, "an object of grades and a reason"),
        "model": STRING,
        "server": STRING.optional(),
        "tokens": Rule(lambda value: list_of(whole(0), "").holds(value) and len(value) == 2, "two counts"),
    },
    closed=False,
)


def verdicts_table(run: RunFolder) -> pd.DataFrame:
    """Return one row per score that a judge gave on a reply, and repeat; one row for a score without verdict.

    Columns: system, task, sample_id; metric, state, reason (of a score without a verdict), repeat (from 0),
    voice (grade of the voice), model, server, prompt_tokens, completion_tokens, explanation (the judge's
    own), key; `grade_<dimension>`; and the facts of the sample.
    """
    path = run.path / "verdicts.jsonl"
    rulings = {row["key"]: row for _, row in read_schema_rows(path, _RULING)} if path.exists() else {}
    scores = list(run.scores().values())
    judged = {score.metric for score in scores if isinstance(score.evidence, JudgeEvidence)}
    rows: list[dict[str, Any]] = []
    grades: dict[str, None] = {}
    for score in scores:
        if score.metric not in judged:
            continue
        facts = {**_ident_of(score), "state": score.state, "reason": score.reason}
        keys = score.evidence.verdicts if isinstance(score.evidence, JudgeEvidence) else ()
        rows += [{**facts, "repeat": None}] if not keys else []
        for repeat, key in enumerate(keys):
            found = _verdict_facts(rulings.get(key))
            grades |= {name: None for name in found if name.startswith("grade_")}
            rows.append({**facts, "repeat": repeat, "key": key, **found})
    own = (
        "metric",
        "state",
        "reason",
        "repeat",
        "voice",
        "model",
        "server",
        "prompt_tokens",
        "completion_tokens",
        "explanation",
        "key",
        *sorted(grades),
    )
    return _frame(run, rows, own)


def _verdict_facts(ruling: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the facts of a row of verdicts.jsonl; empty without one."""
    if ruling is None:
        return {}
    verdict = ruling["verdict"]
    return {
        "voice": verdict.get("voice"),
        "model": ruling["model"],
        "server": ruling.get("server"),
        "prompt_tokens": ruling["tokens"][0],
        "completion_tokens": ruling["tokens"][1],
        "explanation": verdict.get("reason"),
        **{f"grade_{dimension}": grade for dimension, grade in verdict["grades"].items()},
    }


def _ident_of(score: Score) -> dict[str, Any]:
    return {
        "system": score.system,
        "task": score.task,
        "sample_id": score.sample_id,
        "metric": score.metric,
    }


def _frame(
    run: RunFolder,
    rows: Iterable[Mapping[str, Any]],
    own: tuple[str, ...],
    *,
    ident: tuple[str, ...] = _IDENT,
) -> pd.DataFrame:
    """Return rows as a frame with the columns `ident` and `own`, and the facts of the samples."""
    import pandas as pd

    samples = run.samples()
    cues = list(dict.fromkeys(cue for sample in samples for cue in sample.cues))
    units = units_of(samples)
    facts = {
        (sample.task, sample.id): {
            "speaker_cluster": unit.speaker,
            "sentence_cluster": unit.sentence,
            "speaker": sample.speaker,
            "transcript": sample.transcript,
            "contrast_group": sample.contrast_group,
            "language": sample.language,
            "source": sample.source,
            "label": gold_label(sample.cues, sample.asks),
            **{f"cue_{cue}": sample.cues.get(cue) for cue in cues},
        }
        for sample in samples
        for unit in (units[sample.task, sample.id],)
    }
    columns = [*ident, *own, *SAMPLE_COLUMNS, *(f"cue_{cue}" for cue in cues)]
    merged = [{**row, **facts[row["task"], row["sample_id"]]} for row in rows]
    return pd.DataFrame(merged, columns=columns)
