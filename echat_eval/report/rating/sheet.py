"""Rating sheets: a folder that raters open offline, blind to the systems, and the key that is kept.

The sheet holds sounds, words and questions, but no system names. The key, written beside the sheet and never
into it, maps the replies to the systems.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echat_eval.errors import UnknownName, UsageError
from echat_eval.io.hashing import digest
from echat_eval.io.unfinished import NewFolder
from echat_eval.judge.rubric import DEFAULT_RUBRIC, load_judge
from echat_eval.records import AudioRef
from echat_eval.report.licences import require_audio
from echat_eval.report.page import SoundStore, data_script, page_assets
from echat_eval.report.rating.assign import Crew, Dimension, assign, stated_answer
from echat_eval.report.rating.draw import draw_samples
from echat_eval.report.rating.match import MATCH, match_facts, other_voices, voice_pairs
from echat_eval.report.rating.plan import default_plan, plan_facts, plan_path
from echat_eval.report.rating.replies import reply_sha256

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from echat_eval.ports import Progress
    from echat_eval.records import Response, Sample
    from echat_eval.report.runs import MergedRuns
    from echat_eval.store.manifest import RunManifest

__all__ = [
    "NATURALNESS",
    "PREFERENCE",
    "SHARED_ASSETS",
    "Dimension",
    "dimensions_of",
    "key_path",
    "rubric_of",
    "write_sheet",
]

PREFERENCE = "preference"
#: How natural the voice of a reply is, as in tests of speech synthesis.
NATURALNESS = Dimension(name="naturalness", low=1, high=5)
#: Files of the page that a sheet also needs.
SHARED_ASSETS = {"core.js", "words.js", "player.js", "page.css"}


def dimensions_of(rubric: str) -> tuple[Dimension, ...]:
    """Return the rating dimensions of a judge's rubric.

    Raises:
        UnknownName: no judge with that name.
        BadData: a fault in its files.
    """
    judge = load_judge(rubric)
    return tuple(Dimension(name=name, low=0, high=judge.highest) for name in judge.dimensions)


def rubric_of(manifests: Iterable[RunManifest]) -> str:
    """Return the rubric of the judges of these runs; the default if they have several or none."""
    found = {
        str(rubric)
        for manifest in manifests
        for facts in manifest.scorers.values()
        if (rubric := facts.settings.get("rubric")) is not None
    }
    return found.pop() if len(found) == 1 else DEFAULT_RUBRIC


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
    crew: Crew | None = None,
    plan: bytes | None = None,
) -> int:
    """Write a sheet, its key and its analysis plan; return the number of questions about replies.

    Args:
        runs: merged runs; replies of floors and ceilings are rated too.
        out: absent, empty, or left half made by the same command when it was killed.
        dimensions: questions on every reply, beside the match question if that is asked; unused for a pair.
        pair: two systems to compare side by side instead.
        samples: maximum per task, drawn at random over clusters, the same for every system.
        seed: seed of the draw, the order and the assignment.
        progress: receives the progress.
        with_audio: the raters may hear recordings whose task does not state that they may be passed on.
        match: ask which of two voices with the same words each reply answers.
        crew: the raters; by default everyone rates everything.
        plan: the analysis plan; by default one is written.

    Raises:
        UsageError: `out` or a file beside it exists, nothing can be rated, or the recordings may not be
            passed on.
    """
    crew = crew or Crew()
    crew.check()
    key, planned = key_path(out), plan_path(out)
    drawn = _drawn(runs, pair, samples, random.Random(f"draw {seed}"), in_groups=match)
    if not drawn:
        needed = "in a contrast group " if match else ""
        raise UsageError(f"no reply to rate: no sample {needed}has replies from the systems; run them first")
    if not with_audio:
        require_audio(runs, (sample.task for sample, _ in drawn), "a rating sheet")
    order = random.Random(f"order {seed}")
    order.shuffle(drawn)
    voices = voice_pairs([sample for sample, _ in drawn], runs, order) if match else None
    graded = [] if pair else list(dimensions)
    kind = MATCH if match else PREFERENCE if pair else ""
    questions = [{"name": d.name, "low": d.low, "high": d.high} for d in graded]
    occupied = "exists already and may have been rated; choose another --out"
    beside = [key.name, planned.name]
    with NewFolder(out, "echat-eval rate export", occupied=occupied, beside=beside) as folder:
        sound = SoundStore(folder, "")
        made = _Questions()
        progress.stage("rating sheet", len(drawn), 0)
        for number, (sample, systems) in enumerate(drawn):
            names = list(systems)
            order.shuffle(names)
            responses = [runs.responses[s, sample.task, sample.id] for s in names]
            asked_voices = None if voices is None else voices[number]
            answer = {
                "task": sample.task,
                "sample_id": sample.id,
                "systems": names,
                "replies": [reply_sha256(response) for response in responses],
            }
            if asked_voices is not None:
                answer |= match_facts(sample, asked_voices)
            made.add(_item(sample, responses, sound, asked_voices), answer)
            progress.advance()
        about_replies = len(made.items)
        assigned = _with_checks(made, crew, kind, graded, random.Random(f"assign {seed}"))
        text = (
            plan if plan is not None else default_plan(about_replies, _in_words(kind, graded), crew).encode()
        )
        facts = {
            "seed": seed,
            **({"match": True} if match else {}),
            "dimensions": questions,
            **crew.facts(),
            **assigned,
            "plan": plan_facts(text, planned),
        }
        sheet_id = digest("sheet", [made.items, facts, made.answers, made.checks])
        for path in (*(p for p in page_assets("page") if p.name in SHARED_ASSETS), *page_assets("rate")):
            folder.write(path.name, path.read_bytes())
        sheet = {"id": sheet_id, **facts, "items": made.items}
        folder.write("data/sheet.js", data_script("sheet", {k: v for k, v in sheet.items() if k != "seed"}))
        kept = {"sheet": sheet_id, **facts, "items": made.answers, "checks": made.checks}
        folder.write(f"../{key.name}", json.dumps(kept, ensure_ascii=False, indent=1) + "\n")
        folder.write(f"../{planned.name}", text)
    return about_replies


@dataclass(slots=True)
class _Questions:
    """Questions under construction: as raters see them, and what the key keeps of each.

    Attributes:
        answers: of questions about replies; a repeated one names the first under "repeats".
        checks: question -> its dimension and the answer that it states.
    """

    items: list[dict[str, Any]] = field(default_factory=list)
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    checks: dict[str, list[Any]] = field(default_factory=dict)

    def add(self, item: dict[str, Any], answer: dict[str, Any] | None) -> str:
        """Add a question, or one that states its answer; return its name, a number."""
        name = f"q{len(self.items) + 1}"
        self.items.append({"name": name, **item})
        if answer is None:
            self.checks[name] = item["check"]
        else:
            self.answers[name] = answer
        return name


def _with_checks(
    made: _Questions, crew: Crew, kind: str, dimensions: Sequence[Dimension], rng: random.Random
) -> dict[str, Any]:
    """Add checks and repeated questions; return the questions of each rater, if they are assigned."""
    by_name = {item["name"]: item for item in made.items}
    systems = {name: " ".join(sorted(answer["systems"])) for name, answer in made.answers.items()}
    assigned = assign(systems, crew.raters, crew.overlap, rng) if crew.raters is not None else None
    stated = [
        made.add({"check": list(stated_answer(kind, dimensions, rng)), "replies": []}, None)
        for _ in range(crew.checks)
    ]
    for own in [list(systems)] if assigned is None else assigned.values():
        for name in rng.sample(own, min(crew.checks, len(own))):
            again = {key: value for key, value in by_name[name].items() if key != "name"}
            repeated = made.add(again, made.answers[name] | {"repeats": name})
            if assigned is not None:
                own.append(repeated)
        if assigned is not None:
            own += stated
    return {} if assigned is None else {"raters": assigned}


def _in_words(kind: str, dimensions: Sequence[Dimension]) -> str:
    grades = [f"{d.name} ({d.low} to {d.high})" for d in dimensions]
    return ", ".join([*([f"the {kind} question"] if kind else []), *grades])


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
        for sample in draw_samples(rated, limit, rng):
            selected += [(sample, tuple(systems))] if pair is not None else [(sample, (s,)) for s in systems]
    return selected


def _item(
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
    item: dict[str, Any] = {"language": sample.language, "words": sample.transcript}
    if voices is not None:
        return {**item, "voices": [sound(voice.audio) for voice in voices], "replies": replies}
    return {**item, "audio": sound(sample.audio), "replies": replies}
