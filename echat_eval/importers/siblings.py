"""Item files of sibling benchmarks: EchoMind, VocalBench, TELEVAL, SD-Eval. One row, one or more drafts.

The formats are those of the public repositories in 2025 and 2026. Rows about anything but the benchmark's
cues (accents, backgrounds, speaking rate) are refused with a reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from echat_eval.importers.draft import (
    Draft,
    ImportOptions,
    Refusal,
    RowRefused,
    audio_of,
    find_audio,
    label_of,
    language_of,
    source_of,
    text_of,
)
from echat_eval.importers.rows import drafts_of_rows
from echat_eval.labels import to_label

__all__ = ["read_echomind", "read_sd_eval", "read_televal", "read_vocalbench"]

#: EchoMind's attribute of a voice -> (cue, label). Its other attributes belong to no cue of the benchmark.
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
#: Cue -> label of the neutral rendering of a script; age and gender have no neutral rendering.
_NEUTRAL = {"emotion": "neutral", "event": "none"}

#: Keys that name a row.
_IDS = ("key", "Qid", "utt_id", "case_id")


def read_echomind(folder: Path, options: ImportOptions) -> Iterator[Draft | Refusal]:
    """Yield up to three drafts per script: its target, neutral and alternative voice."""

    def read(location: str, row: Mapping[str, Any], path: Path) -> Iterator[Draft | Refusal]:
        case = text_of(str(row.get("case_id", "")), "case_id")
        for voice in ("target", "neutral", "alternative"):
            ident = f"{case}-{voice}"
            try:
                yield _echomind(location, row, voice, ident, path.stem, folder, options)
            except RowRefused as refused:
                yield Refusal(location=location, id=ident, reason=str(refused))

    yield from drafts_of_rows(folder, ("script_info_*.json",), read, ids=_IDS)


def _echomind(
    location: str,
    row: Mapping[str, Any],
    voice: str,
    ident: str,
    stem: str,
    folder: Path,
    options: ImportOptions,
) -> Draft:
    info = row.get(f"{voice}_audio_info")
    info = info if isinstance(info, dict) else {}
    attribute = str(row.get("spoken_info", "")).strip()
    cue, label = ECHOMIND.get(attribute, ("", ""))
    if not cue:
        raise RowRefused(f"attribute {attribute[:60]!r} is none of the benchmark's cues")
    if voice == "neutral":
        if cue not in _NEUTRAL:
            raise RowRefused(f"a {cue} has no neutral voice")
        label = _NEUTRAL[cue]
    elif voice == "alternative":
        alternative = str(info.get("spoken_info") or row.get("alternative_spoken_info") or "").strip()
        if ECHOMIND.get(alternative, ("", ""))[0] != cue:
            raise RowRefused(f"does not state which {cue} its alternative voice has")
        label = ECHOMIND[alternative][1]
    transcript = next((row[k] for k in ("speak_A", "speak_a", "script", "text") if row.get(k)), None)
    voices = stem.rpartition("_")[2]  # script_info_synthesis, script_info_human
    source = {"synthesis": "synthetic", "human": "real"}.get(voices)
    return Draft(
        location=location,
        id=ident,
        audio=find_audio(info.get(f"{voice}_input_audio_file"), options, folder / "audio", folder),
        transcript=text_of(transcript, "words (speak_A)"),
        cues={cue: label},
        language=language_of(options),
        source=source_of(options, source),
        note=f"EchoMind topic: {row['topic']}" if row.get("topic") else None,
    )


def read_vocalbench(folder: Path, options: ImportOptions) -> Iterator[Draft | Refusal]:
    """Yield one draft per row of json/emotion.json; VocalBench's other files have no cue and are refused."""

    def read(location: str, row: Mapping[str, Any], path: Path) -> Iterator[Draft | Refusal]:
        label = label_of("emotion", row.get("Question_emo"))
        if label is None:
            raise RowRefused("names no emotion (Question_emo)")
        yield Draft(
            location=location,
            id=text_of(row.get("Qid"), "Qid"),
            audio=find_audio(
                row.get("Audio"), options, folder, folder / "wav", folder / "wav" / path.stem, folder.parent
            ),
            transcript=text_of(row.get("Question"), "words (Question)"),
            cues={"emotion": label},
            language=language_of(options),
            source=source_of(options),
        )

    yield from drafts_of_rows(folder, ("emotion*.json", "emotion*.jsonl"), read, ids=_IDS)


def read_televal(folder: Path, options: ImportOptions) -> Iterator[Draft | Refusal]:
    """Yield one draft per row of the emotion, age and non-speech sets (`key`, `audio`, `query`).

    The hub's Parquet files embed the audio; its own tool turns them into .jsonl and .wav files.
    """

    def read(location: str, row: Mapping[str, Any], path: Path) -> Iterator[Draft | Refusal]:
        values = {"emotion": row.get("query_emo"), "age": row.get("age"), "event": row.get("para_name")}
        cues = {cue: label for cue, value in values.items() if (label := label_of(cue, value)) is not None}
        if not cues:
            raise RowRefused("names none of query_emo, age, para_name")
        answer = row.get("answer_age") if "age" in cues else row.get("answer")
        tag = path.stem.rpartition("-")[2]
        audio, suffix = audio_of(row.get("audio"), options, folder if folder.is_dir() else folder.parent)
        yield Draft(
            location=location,
            id=text_of(row.get("key"), "key"),
            audio=audio,
            suffix=suffix,
            transcript=text_of(row.get("query"), "words (query)"),
            cues=cues,
            language=language_of(options, tag if tag in ("en", "zh") else None),
            source=source_of(options),
            references=(answer.strip(),) if isinstance(answer, str) and answer.strip() else (),
        )

    yield from drafts_of_rows(folder, ("*.jsonl", "*.parquet"), read, ids=_IDS)


def read_sd_eval(folder: Path, options: ImportOptions) -> Iterator[Draft | Refusal]:
    """Yield one draft per row of test-emo.json and test-age.json; accents and backgrounds are refused."""

    def read(location: str, row: Mapping[str, Any], path: Path) -> Iterator[Draft | Refusal]:
        info = str(row.get("info", ""))
        cues = {cue: label for cue in ("emotion", "age") if (label := to_label(cue, info)) is not None}
        if len(cues) != 1:
            raise RowRefused(f"info {info[:60]!r} is no emotion and no age")
        corpus = row.get("dataset_name")
        replies = row.get("target") or []
        texts = [t.get("reply") for t in replies if isinstance(t, dict)] if isinstance(replies, list) else []
        yield Draft(
            location=location,
            id=text_of(row.get("utt_id"), "utt_id"),
            audio=find_audio(row.get("wav_path"), options, folder if folder.is_dir() else folder.parent),
            transcript=text_of(row.get("transcript"), "transcript"),
            cues=cues,
            language=language_of(options),
            source=source_of(options, "synthetic" if corpus == "synthesized" else None, corpus),
            references=tuple(t.strip() for t in texts if isinstance(t, str) and t.strip()),
            note=f"dataset: {corpus}" if corpus else None,
        )

    yield from drafts_of_rows(folder, ("test-*.json",), read, ids=_IDS)
