"""A run as Parquet files that the `datasets` library loads, one configuration per table.

    README.md              a data set card with the configurations, licences and citations
    samples.parquet        one row per sample
    responses.parquet      one row per system and sample
    annotations.parquet    one row per reply, annotator and value; `value` is JSON
    scores.parquet         one row per reply and metric
    verdicts.parquet       one row per reply and verdict of a judge

The columns are those of `echat_eval.analysis.run_tables`. `audio` is null, the name of a file in `audio/`, or
a struct of bytes and path, as the feature `Audio` of `datasets` reads it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from echat_eval.analysis.run_tables import (
    annotations_table,
    responses_table,
    samples_table,
    scores_table,
    verdicts_table,
)
from echat_eval.errors import NotInstalled, UsageError
from echat_eval.io.display import markdown_text
from echat_eval.records import AudioRef
from echat_eval.report.licences import licence_elsewhere, may_pass_on, withheld_audio
from echat_eval.store.ledger import pending

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import pandas as pd
    import pyarrow as pa

    from echat_eval.io.unfinished import NewFolder
    from echat_eval.store.manifest import RunManifest
    from echat_eval.store.run_folder import RunFolder

__all__ = ["AUDIO", "AudioMode", "Exported", "export_parquet"]

#: "none": no recordings; "path": files in `audio/`; "bytes": inside the Parquet files.
AudioMode = Literal["none", "path", "bytes"]
AUDIO: tuple[AudioMode, ...] = ("none", "path", "bytes")

_TABLES: Mapping[str, Callable[[RunFolder], pd.DataFrame]] = {
    "samples": samples_table,
    "responses": responses_table,
    "annotations": annotations_table,
    "scores": scores_table,
    "verdicts": verdicts_table,
}
_WHOLE = {"speaker_cluster", "sentence_cluster", "turns", "interruptions", "tries", "repeat", "prompt_tokens"}
_WHOLE |= {"completion_tokens"}
_REAL = {"seconds", "audio_seconds", "first_audio_seconds", "first_audible_seconds", "round_trip_seconds"}
_REAL |= {"weight", "voice"}
_TRUTH, _TEXTS = {"cached"}, {"references", "earlier_replies"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """The written tables.

    Attributes:
        rows: table -> number of rows.
        notes: what was left out, and why.
    """

    rows: Mapping[str, int]
    notes: tuple[str, ...]


def export_parquet(
    run: RunFolder,
    folder: NewFolder,
    *,
    audio: AudioMode = "none",
    with_audio: bool = False,
    with_private: bool = False,
) -> Exported:
    """Write the tables of a run into a folder.

    Args:
        run: a run folder, or one system of it.
        folder: receives the files.
        audio: how recordings are written.
        with_audio: also recordings whose task does not state that they may be passed on.
        with_private: also the rows of private tasks.

    Raises:
        UsageError: nothing may be written.
        NotInstalled: pyarrow is missing.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError as error:
        raise NotInstalled("Parquet files need pyarrow; pip install 'echat-eval[hub]'") from error
    manifest = run.manifest()
    private = {name for name, facts in manifest.tasks.items() if facts.private is not False}
    kept = [name for name in manifest.tasks if with_private or name not in private]
    if not kept:
        raise UsageError(
            f"{run.path}: every task of the run is private ({', '.join(manifest.tasks)}); give "
            "--with-private for a copy that stays with people who may have the data"
        )
    audible = {name for name in kept if with_audio or may_pass_on(manifest.tasks, name)}
    withheld = withheld_audio(manifest.tasks, run.samples(), with_audio=with_audio)
    sound = _Sound(run, folder, audio, withheld)
    rows = {}
    for name, table in _TABLES.items():
        frame = table(run)
        frame = frame[frame["task"].isin(kept)]
        if name in ("samples", "responses"):
            cells: list[Any] = [sound.cell(name, row) for row in frame.itertuples()]
            frame = frame.assign(audio=cells)
        if name == "verdicts" and frame.empty:
            continue
        columns = {
            column: pa.array(frame[column], pa.float64())
            if (name, column) == ("scores", "value")
            else _column(pa, column, frame[column].tolist(), audio)
            for column in frame.columns
        }
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table(columns), sink, compression="zstd")
        folder.write(f"{name}.parquet", sink.getvalue().to_pybytes())
        rows[name] = len(frame)
    folder.write("README.md", _card(manifest, kept, rows))
    notes = [*_notes(manifest, kept, audible, audio)]
    if (lacks := pending(run)) is not None:
        notes.insert(0, f"unfinished run: {lacks}")
    return Exported(rows=rows, notes=tuple(notes))


class _Sound:
    """Writes the recordings of samples and replies."""

    def __init__(self, run: RunFolder, folder: NewFolder, mode: AudioMode, withheld: frozenset[str]) -> None:
        self._run, self._folder, self._mode, self._withheld = run, folder, mode, withheld
        self._samples = {(s.task, s.id): s.audio for s in run.samples()}
        self._responses = run.responses()

    def cell(self, table: str, row: Any) -> str | dict[str, object] | None:
        """Return the audio of a row; None if there is none, or it may not be passed on."""
        audio: AudioRef | None
        if table == "samples":
            audio = self._samples[row.task, row.sample_id]
        else:
            reply = self._responses[row.system, row.task, row.sample_id].reply
            audio = reply.audio if reply is not None and isinstance(reply.audio, AudioRef) else None
        if self._mode == "none" or audio is None or audio.sha256 in self._withheld:
            return None
        self._run.check_audio(audio)
        name = f"audio/{audio.sha256}{audio.path.suffix.lower()}"
        if self._mode == "path":
            self._folder.copy(name, audio.path, audio.sha256)
            return name
        return {"bytes": audio.path.read_bytes(), "path": name}


def _column(pa: Any, name: str, values: list[Any], audio: AudioMode) -> pa.Array:
    """Return a column with a type that does not depend on the rows."""
    if name == "audio" and audio == "bytes":
        return pa.array(values, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    if name in _TEXTS:
        return pa.array([None if _empty(v) else list(v) for v in values], pa.list_(pa.string()))
    if name in _WHOLE:
        return pa.array([None if _empty(v) else int(v) for v in values], pa.int64())
    if name in _REAL or name.startswith("grade_"):
        return pa.array([None if _empty(v) else float(v) for v in values], pa.float64())
    if name in _TRUTH:
        return pa.array([None if _empty(v) else bool(v) for v in values], pa.bool_())
    text = _json if name == "value" else str
    return pa.array([None if _empty(v) else text(v) for v in values], pa.string())


def _empty(value: Any) -> bool:
    return value is None or (isinstance(value, float) and value != value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _card(manifest: RunManifest, tasks: list[str], rows: Mapping[str, int]) -> str:
    """Return the data set card: configurations for `datasets`, and the terms of the samples."""
    configs = "".join(f"- config_name: {name}\n  data_files: {name}.parquet\n" for name in rows)
    terms = "".join(
        f"- {markdown_text(task)}: {markdown_text(licence or 'no licence is stated')}"
        f"{f'. Cite: {markdown_text(facts.citation)}' if facts.citation else ''}\n"
        for task in tasks
        for facts in (manifest.tasks[task],)
        for licence in (licence_elsewhere(facts.licence),)
    )
    systems = ", ".join(map(markdown_text, manifest.systems))
    return (
        f"---\nconfigs:\n{configs}---\n\n# A run of EChat-eval\n\nSystems: {systems}.\n\n"
        'Load a table with `datasets.load_dataset(FOLDER, "scores")`.\n\n## Samples\n\n' + terms
    )


def _notes(manifest: RunManifest, kept: list[str], audible: set[str], audio: AudioMode) -> Iterator[str]:
    if left_out := [name for name in manifest.tasks if name not in kept]:
        yield f"private tasks are left out: {', '.join(left_out)}; --with-private includes them"
    silent = [name for name in kept if name not in audible]
    if silent and audio != "none":
        yield (
            f"no recordings of the samples of {', '.join(silent)}: task.yaml does not state redistributable: "
            "true; --with-audio includes them for people who may hear them"
        )
