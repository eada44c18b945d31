"""Rating sheets: a folder that raters open offline, blind to the systems, and the key that is kept.

The sheet holds sounds, words and questions, but no system names. The key, written beside the sheet and never
into it, maps the replies to the systems.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echat_eval.errors import UnknownName, UsageError
from echat_eval.io.hashing import digest
from echat_eval.io.unfinished import NewFolder
from echat_eval.judge.rubric import load_judge
from echat_eval.records import AudioRef
from echat_eval.report.licences import require_audio
from echat_eval.report.page import SoundStore, data_script, page_assets
from echat_eval.report.rating.match import match_facts, other_voices, voice_pairs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from echat_eval.ports import Progress
    from echat_eval.records import Response, Sample
    from echat_eval.report.runs import MergedRuns

__all__ = ["PREFERENCE", "Dimension", "dimensions_of", "key_path", "write_sheet"]

PREFERENCE = "preference"
#: Files of the page that a sheet also needs.
_SHARED = {"core.js", "words.js", "player.js", "page.css"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimension:
    """One question about a reply: whole numbers from low to high."""

    name: str
    low: int
    high: int


def dimensions_of(rubric: str) -> tuple[Dimension, ...]:
    """Return the rating dimensions of a judge's rubric.

    Raises:
        UnknownName: no judge with that name.
        BadData: a fault in its files.
    """
    judge = load_judge(rubric)
    return tuple(Dimension(name=name, low=0, high=judge.highest) for name in judge.dimensions)


def key_path(out: Path) -> Path:
    """Return the path of a sheet's key, beside the sheet."""
    return out.with_name(f"{out.name}.key.json")


def write_sheet(
    runs: MergedRuns,
    out: Path,
    *,
    dimensions: Sequence[Dimension],
    pair: tuple[str, str] | None,
    samples: int,
    seed: int,
    progress: Progress,
    with_audio: bool = False,
    match: bool = False,
) -> int:
    """Write a sheet and its key; return the number of questions.

    Args:
        runs: merged runs; replies of floors and ceilings are rated too.
        out: absent, empty, or left half made by the same command when it was killed.
        dimensions: questions on every reply; unused for a pair.
        pair: two systems to compare side by side instead.
        samples: maximum per task, drawn at random, the same for every system.
        seed: seed of the draw and of the order.
        progress: receives the progress.
        with_audio: the raters may hear recordings whose task does not state that they may be passed on.
        match: ask instead which of two voices with the same words each reply answers.

    Raises:
        UsageError: `out` or its key exists, nothing can be rated, or the recordings may not be passed on.
    """
    key = key_path(out)
    drawn = _drawn(runs, pair, samples, random.Random(f"draw {seed}"), in_groups=match)
    if not drawn:
        needed = "in a contrast group " if match else ""
        raise UsageError(f"no reply to rate: no sample {needed}has replies from the systems; run them first")
    if not with_audio:
        require_audio(runs, (sample.task for sample, _ in drawn), "a rating sheet")
    order = random.Random(f"order {seed}")
    order.shuffle(drawn)
    voices = voice_pairs([sample for sample, _ in drawn], runs, order) if match else None
    occupied = "exists already and may have been rated; choose another --out"
    with NewFolder(out, "echat-eval rate export", occupied=occupied, beside=[key.name]) as folder:
        sound = SoundStore(folder, "")
        items, answers = [], {}
        progress.stage("rating sheet", len(drawn), 0)
        for number, (sample, systems) in enumerate(drawn):
            names = list(systems)
            order.shuffle(names)
            name = f"q{number + 1}"
            responses = [runs.responses[s, sample.task, sample.id] for s in names]
            asked_voices = None if voices is None else voices[number]
            items.append(_item(name, sample, responses, sound, asked_voices))
            answers[name] = {"task": sample.task, "sample_id": sample.id, "systems": names}
            if asked_voices is not None:
                answers[name] |= match_facts(sample, asked_voices)
            progress.advance()
        questions = (
            [] if pair or match else [{"name": d.name, "low": d.low, "high": d.high} for d in dimensions]
        )
        sheet_id = digest("sheet", [items, questions, answers])
        for path in (*(p for p in page_assets("page") if p.name in _SHARED), *page_assets("rate")):
            folder.write(path.name, path.read_bytes())
        kind = {"match": True} if match else {}
        sheet = {"id": sheet_id, **kind, "dimensions": questions, "items": items}
        folder.write("data/sheet.js", data_script("sheet", sheet))
        facts = {"sheet": sheet_id, "seed": seed, **kind, "dimensions": questions, "items": answers}
        folder.write(f"../{key.name}", json.dumps(facts, ensure_ascii=False, indent=1) + "\n")
    return len(items)


def _drawn(
    runs: MergedRuns,
    pair: tuple[str, str] | None,
    limit: int,
    rng: random.Random,
    *,
    in_groups: bool,
) -> list[tuple[Sample, tuple[str, ...]]]:
    """Return (sample, systems rated together), the same samples for every system."""
    systems = list(pair) if pair is not None else list(runs.roles)
    for name in systems:
        if name not in runs.roles:
            raise UnknownName("system", name, runs.roles)

    def answered(system: str, sample: Sample) -> bool:
        response = runs.responses.get((system, sample.task, sample.id))
        return response is not None and response.reply is not None

    selected: list[tuple[Sample, tuple[str, ...]]] = []
    for _, members in groupby(runs.samples.values(), key=lambda s: s.task):
        rated = [
            s
            for s in members
            if all(answered(system, s) for system in systems) and (not in_groups or other_voices(runs, s))
        ]
        for sample in rng.sample(rated, min(limit, len(rated))):
            selected += [(sample, tuple(systems))] if pair is not None else [(sample, (s,)) for s in systems]
    return selected


def _item(
    name: str,
    sample: Sample,
    responses: Sequence[Response],
    sound: SoundStore,
    voices: tuple[Sample, Sample] | None,
) -> dict[str, Any]:
    replies = []
    for response in responses:
        assert response.reply is not None
        audio = response.reply.audio
        stored = sound(audio if isinstance(audio, AudioRef) else None)
        replies.append({"text": response.reply.text, "audio": stored})
    item: dict[str, Any] = {"name": name, "language": sample.language, "words": sample.transcript}
    if voices is not None:
        return {**item, "voices": [sound(voice.audio) for voice in voices], "replies": replies}
    return {**item, "audio": sound(sample.audio), "replies": replies}
