"""Item files of sibling benchmarks: EchoMind, VocalBench, TELEVAL, SD-Eval. One row, one or more drafts.

Forms as their public repositories had them in 2025 and 2026. What they ask beyond the benchmark's
cues (accents, backgrounds, speaking rate) is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from echat_eval.errors import UsageError
from echat_eval.importers.draft import (
    Draft,
    ImportOptions,
    NoSample,
    Refusal,
    label_of,
    language_of,
    located,
    objects,
    source_of,
    text_of,
)
from echat_eval.labels import to_label

__all__ = ["read_echomind", "read_sd_eval", "read_televal", "read_vocalbench"]

#: EchoMind's attribute of a voice -> (cue, label). Its other attributes are none of the benchmark's cues.
ECHOMIND: Mapping[str, tuple[str, str]] = {
    "male": ("gender", "male"),
    "female": ("gender", "female"),
    "child": ("age", "child"),
    "adult": ("age", "adult"),
    "elderly": ("age", "old"),
    "happy-toned expressive voice": ("emotion", "happy"),
    "sad-toned expressive voice": ("emotion", "sad"),
    "surprise-toned expressive voice": ("emotion", "surprise"),
    "angry-toned expressive voice": ("emotion", "anger"),
    "fear-toned expressive voice": ("emotion", "fear"),
    "disgust-toned expressive voice": ("emotion", "disgust"),
    "cough voice": ("event", "cough"),
    "sigh sound": ("event", "sigh"),
    "laughter sound": ("event", "laugh"),
    "sobbing sound": ("event", "cry"),
}
#: What the neutral rendering of a script has of a cue; speakers have none.
_NEUTRAL = {"emotion": "neutral", "event": "none"}

Reader = Callable[[str, Mapping[str, Any], str], Iterator[Draft | Refusal]]


def _each(folder: Path, read: Reader, patterns: tuple[str, ...]) -> Iterator[Draft | Refusal]:
    """Read every row of every file of a folder (or of one file); a reason raised becomes a refusal."""
    files = [folder] if folder.is_file() else sorted(p for pattern in patterns for p in folder.rglob(pattern))
    if not files:
        raise UsageError(f"{folder}: no {' or '.join(patterns)} below it")
    for path in dict.fromkeys(files):
        if path.suffix == ".parquet":
            yield Refusal(
                where=path.name, id=None, reason="a parquet file; turn it into .jsonl and wavs first"
            )
            continue
        for where, row in objects(path):
            try:
                if not isinstance(row, dict):
                    raise NoSample("not a JSON object")
                yield from read(where, row, path.stem)
            except NoSample as reason:
                yield Refusal(where=where, id=_name(row), reason=str(reason))


def _name(row: Any) -> str | None:
    keys = ("key", "Qid", "utt_id", "case_id")
    return next((str(row[k]) for k in keys if k in row), None) if isinstance(row, dict) else None


def read_echomind(folder: Path, told: ImportOptions) -> Iterator[Draft | Refusal]:
    """Yield up to three drafts per script: its target, neutral and alternative voice."""

    def read(where: str, row: Mapping[str, Any], stem: str) -> Iterator[Draft | Refusal]:
        case = text_of(str(row.get("case_id", "")), "case_id")
        for voice in ("target", "neutral", "alternative"):
            ident = f"{case}-{voice}"
            try:
                yield _echomind(where, row, voice, ident, stem, folder, told)
            except NoSample as reason:
                yield Refusal(where=where, id=ident, reason=str(reason))

    yield from _each(folder, read, ("script_info_*.json",))


def _echomind(
    where: str, row: Mapping[str, Any], voice: str, ident: str, stem: str, folder: Path, told: ImportOptions
) -> Draft:
    about = row.get(f"{voice}_audio_info")
    about = about if isinstance(about, dict) else {}
    attribute = str(row.get("spoken_info", "")).strip()
    cue, label = ECHOMIND.get(attribute, ("", ""))
    if not cue:
        raise NoSample(f"attribute {attribute[:60]!r} is none of the benchmark's cues")
    if voice == "neutral":
        if cue not in _NEUTRAL:
            raise NoSample(f"a {cue} has no neutral voice")
        label = _NEUTRAL[cue]
    elif voice == "alternative":
        other = str(about.get("spoken_info") or row.get("alternative_spoken_info") or "").strip()
        if ECHOMIND.get(other, ("", ""))[0] != cue:
            raise NoSample(f"does not say which {cue} its alternative voice has")
        label = ECHOMIND[other][1]
    words = next((row[k] for k in ("speak_A", "speak_a", "script", "text") if row.get(k)), None)
    kind = stem.rpartition("_")[2]  # script_info_synthesis, script_info_human
    said = {"synthesis": "synthetic", "human": "real"}.get(kind)
    return Draft(
        where=where,
        id=ident,
        audio=located(about.get(f"{voice}_input_audio_file"), told, folder / "audio", folder),
        transcript=text_of(words, "words (speak_A)"),
        cues={cue: label},
        language=language_of(told),
        source=source_of(told, said),
        note=f"EchoMind topic: {row['topic']}" if row.get("topic") else None,
    )


def read_vocalbench(folder: Path, told: ImportOptions) -> Iterator[Draft | Refusal]:
    """Yield one draft per row of json/emotion.json; other files of VocalBench have no cue and are refused."""

    def read(where: str, row: Mapping[str, Any], stem: str) -> Iterator[Draft | Refusal]:
        label = label_of("emotion", row.get("Question_emo"))
        if label is None:
            raise NoSample("names no emotion (Question_emo)")
        yield Draft(
            where=where,
            id=text_of(row.get("Qid"), "Qid"),
            audio=located(
                row.get("Audio"), told, folder, folder / "wav", folder / "wav" / stem, folder.parent
            ),
            transcript=text_of(row.get("Question"), "words (Question)"),
            cues={"emotion": label},
            language=language_of(told),
            source=source_of(told),
        )

    yield from _each(folder, read, ("emotion*.json", "emotion*.jsonl"))


def read_televal(folder: Path, told: ImportOptions) -> Iterator[Draft | Refusal]:
    """Yield one draft per row of the emotion, age and non-speech sets (jsonl; `key`, `audio`, `query`)."""

    def read(where: str, row: Mapping[str, Any], stem: str) -> Iterator[Draft | Refusal]:
        spelled = {"emotion": row.get("query_emo"), "age": row.get("age"), "event": row.get("para_name")}
        cues = {cue: label for cue, said in spelled.items() if (label := label_of(cue, said)) is not None}
        if not cues:
            raise NoSample("names none of query_emo, age, para_name")
        answer = row.get("answer_age") if "age" in cues else row.get("answer")
        tag = stem.rpartition("-")[2]
        yield Draft(
            where=where,
            id=text_of(row.get("key"), "key"),
            audio=located(row.get("audio"), told, folder if folder.is_dir() else folder.parent),
            transcript=text_of(row.get("query"), "words (query)"),
            cues=cues,
            language=language_of(told, tag if tag in ("en", "zh") else None),
            source=source_of(told),
            references=(answer.strip(),) if isinstance(answer, str) and answer.strip() else (),
        )

    yield from _each(folder, read, ("*.jsonl", "*.parquet"))


def read_sd_eval(folder: Path, told: ImportOptions) -> Iterator[Draft | Refusal]:
    """Yield one draft per row of test-emo.json and test-age.json; accents and backgrounds are refused."""

    def read(where: str, row: Mapping[str, Any], stem: str) -> Iterator[Draft | Refusal]:
        info = str(row.get("info", ""))
        cues = {cue: label for cue in ("emotion", "age") if (label := to_label(cue, info)) is not None}
        if len(cues) != 1:
            raise NoSample(f"info {info[:60]!r} is no emotion and no age")
        corpus = row.get("dataset_name")
        replies = row.get("target") or []
        texts = [t.get("reply") for t in replies if isinstance(t, dict)] if isinstance(replies, list) else []
        yield Draft(
            where=where,
            id=text_of(row.get("utt_id"), "utt_id"),
            audio=located(row.get("wav_path"), told, folder if folder.is_dir() else folder.parent),
            transcript=text_of(row.get("transcript"), "transcript"),
            cues=cues,
            language=language_of(told),
            source=source_of(told, "synthetic" if corpus == "synthesized" else None, corpus),
            references=tuple(t.strip() for t in texts if isinstance(t, str) and t.strip()),
            note=f"dataset: {corpus}" if corpus else None,
        )

    yield from _each(folder, read, ("test-*.json",))
