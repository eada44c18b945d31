"""Rating sheets: a folder people open offline, blind to which system said what, and the key that stays.

The sheet holds sounds, words and questions, and no system's name; the key, written beside the sheet and
never into it, says which answer belongs to which system.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echat_eval.errors import BadData, UnknownName, UsageError
from echat_eval.io.data_folder import data_folder
from echat_eval.io.files import write_atomically
from echat_eval.io.hashing import digest
from echat_eval.io.strict_yaml import read_yaml
from echat_eval.records import AudioRef
from echat_eval.report.outlet import Outlet
from echat_eval.report.page import SoundStore, data_script, page_assets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from echat_eval.ports import Progress
    from echat_eval.records import Response, Sample
    from echat_eval.report.runs import MergedRuns

__all__ = ["PREFERENCE", "Dimension", "dimensions_of", "key_path", "write_sheet"]

PREFERENCE = "preference"
#: Of the page's files, those that a sheet needs too.
_SHARED = {"core.js", "words.js", "player.js", "page.css"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimension:
    """One question about a reply: whole numbers from low to high."""

    name: str
    low: int
    high: int


def dimensions_of(rubric: str) -> tuple[Dimension, ...]:
    """Return what people are asked, in the words of a judge's rubric.

    Raises:
        UnknownName: no judge by that name.
        BadData: its judge.yaml names neither dimensions nor a range.
    """
    root = data_folder("judges")
    path = root / rubric / "judge.yaml"
    if not path.is_file():
        raise UnknownName("judge", rubric, sorted(p.parent.name for p in root.glob("*/judge.yaml")))
    found = read_yaml(path).content
    if isinstance(found.get("dimensions"), list):
        high = found.get("highest", 5)
        return tuple(Dimension(name=str(name), low=0, high=int(high)) for name in found["dimensions"])
    if isinstance(found.get("low"), int) and isinstance(found.get("high"), int):
        return (Dimension(name="overall", low=found["low"], high=found["high"]),)
    raise BadData(f"{path}: names neither 'dimensions' nor 'low' and 'high'; give --rubric one that does")


def key_path(out: Path) -> Path:
    """Return where the key of a sheet lies: beside it."""
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
) -> int:
    """Write a sheet and its key; return how many questions it asks.

    Args:
        runs: whose replies are rated; floors and ceilings too.
        out: absent or empty.
        dimensions: asked of every reply; of no use for a pair.
        pair: two systems to hear side by side instead.
        samples: at most so many a task, drawn at random, the same for every system.
        seed: of the draw and of the order.
        progress: told what is going on.

    Raises:
        UsageError: `out` or its key exists, or nothing can be rated.
    """
    key = key_path(out)
    if key.exists() or (out.exists() and (not out.is_dir() or any(out.iterdir()))):
        taken = key if key.exists() else out
        raise UsageError(f"{taken}: is there already, and people may have rated it; choose another --out")
    drawn = _drawn(runs, pair, samples, random.Random(f"draw {seed}"))
    if not drawn:
        raise UsageError("no reply to rate: no sample was answered by the systems; run them first")
    order = random.Random(f"order {seed}")
    order.shuffle(drawn)
    outlet = Outlet(out, [])
    sound = SoundStore(outlet, "")
    items, answers = [], {}
    progress.stage("rating sheet", len(drawn), 0)
    for number, (sample, systems) in enumerate(drawn):
        names = list(systems)
        order.shuffle(names)
        name = f"q{number + 1}"
        items.append(_item(name, sample, [runs.responses[s, sample.task, sample.id] for s in names], sound))
        answers[name] = {"task": sample.task, "sample_id": sample.id, "systems": names}
        progress.advance()
    asked = [{"name": d.name, "low": d.low, "high": d.high} for d in dimensions] if pair is None else []
    sheet_id = digest("sheet", [items, asked, answers])
    for path in (*(p for p in page_assets("page") if p.name in _SHARED), *page_assets("rate")):
        outlet.write(path.name, path.read_bytes())
    outlet.write("data/sheet.js", data_script("sheet", {"id": sheet_id, "dimensions": asked, "items": items}))
    facts = {"sheet": sheet_id, "seed": seed, "dimensions": asked, "items": answers}
    write_atomically(key, json.dumps(facts, ensure_ascii=False, indent=1) + "\n")
    return len(items)


def _drawn(
    runs: MergedRuns, pair: tuple[str, str] | None, most: int, chance: random.Random
) -> list[tuple[Sample, tuple[str, ...]]]:
    """Return (sample, systems heard together), the same samples for every system."""
    systems = list(pair) if pair is not None else list(runs.roles)
    for name in systems:
        if name not in runs.roles:
            raise UnknownName("system", name, runs.roles)

    def answered(system: str, sample: Sample) -> bool:
        response = runs.responses.get((system, sample.task, sample.id))
        return response is not None and response.reply is not None

    chosen: list[tuple[Sample, tuple[str, ...]]] = []
    for _, members in groupby(runs.samples.values(), key=lambda s: s.task):
        rated = [s for s in members if all(answered(system, s) for system in systems)]
        for sample in chance.sample(rated, min(most, len(rated))):
            chosen += [(sample, tuple(systems))] if pair is not None else [(sample, (s,)) for s in systems]
    return chosen


def _item(name: str, sample: Sample, responses: Sequence[Response], sound: SoundStore) -> dict[str, Any]:
    replies = []
    for response in responses:
        assert response.reply is not None
        audio = response.reply.audio
        heard = sound(audio if isinstance(audio, AudioRef) else None)
        replies.append({"text": response.reply.text, "audio": heard})
    return {
        "name": name,
        "language": sample.language,
        "words": sample.transcript,
        "audio": sound(sample.audio),
        "replies": replies,
    }
