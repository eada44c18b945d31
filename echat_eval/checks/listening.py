"""Does a judge listen? The same words in two recordings, and the label that one of them was voiced for.

The recordings are sentences of the demo split, re-voiced (`checks.revoice`). Each sentence has four pairs:

- flattened: the tone of a label, and the same voice without movement of pitch and level;
- wrong emotion: the tone of a label, and that of another one;
- other voice: the same tone by another voice. Neither is right; printed, without a threshold;
- identical: two copies that differ in the last bit alone.

Each pair is asked in both orders. A judge that only reads gives both orders the same answer, and is right in
exactly half of the planted pairs.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from echat_eval.checks.revoice import RATE, VERSION, Tone, analyse, resynthesise
from echat_eval.errors import NotApplicable, Unavailable, UsageError
from echat_eval.io.audio import read_mono, write_wav
from echat_eval.io.hashing import sha256_of
from echat_eval.judge import Question, Recording
from echat_eval.records import AudioRef, Waveform
from echat_eval.scorers.listening_result import ListeningShare
from echat_eval.stats.means import cluster_mean
from echat_eval.stats.shares import share_limits
from echat_eval.task import load_task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from echat_eval.judge import Judge, JudgeClient
    from echat_eval.records import Sample

__all__ = [
    "KINDS",
    "PLANTED",
    "PairAnswers",
    "VoicePair",
    "ask_pairs",
    "first_share",
    "make_pairs",
    "questions_about",
    "right_share",
    "winner_share",
]

PairKind = Literal["flattened", "wrong emotion", "other voice", "identical"]
KINDS: tuple[PairKind, ...] = ("flattened", "wrong emotion", "other voice", "identical")
#: Kinds in which the first recording is right.
PLANTED: tuple[PairKind, ...] = ("flattened", "wrong emotion")
#: Tasks of the demo split whose recordings have nothing but speech.
TASKS = ("emotion", "age", "gender")

#: Label -> tone. Caricatures of acted speech, as in the demo split.
TONES: Mapping[str, Tone] = {
    "happy": Tone(pitch=3.5, spread=1.9, rate=1.08, level=3),
    "sad": Tone(pitch=-3.0, spread=0.6, rate=0.78, level=-6),
    "anger": Tone(pitch=2.0, spread=1.4, rate=1.18, level=6, punch=1.2),
}
#: Label -> the label of the wrong tone.
WRONG = {"happy": "sad", "sad": "happy", "anger": "sad"}
FLAT = Tone(spread=0.0, punch=0.5)
#: Another voice: lower and larger.
OTHER = {"pitch": -4.0, "formants": 0.86}


@dataclass(frozen=True, slots=True, kw_only=True)
class VoicePair:
    """Two recordings of the same words.

    Attributes:
        id: of the pair; people see it, and it does not show the kind.
        sentence: of the demo split; pairs of one sentence are one cluster.
        label: that `right` was voiced for.
        right, other: the recordings; neither is right if the kind is not planted.
    """

    id: str
    sentence: str
    kind: PairKind
    label: str
    language: str
    words: str
    right: AudioRef
    other: AudioRef


@dataclass(frozen=True, slots=True, kw_only=True)
class PairAnswers:
    """The answers about one pair.

    Attributes:
        answers: one per order and repeat: 1 for `right`, -1 for `other`, 0 for a tie, None: missing.
        reason: why an answer is missing.
    """

    pair: VoicePair
    answers: tuple[int | None, ...]
    reason: str | None = None


def make_pairs(folder: Path, sentences: int | None = None) -> list[VoicePair]:
    """Write the recordings into a folder and return their pairs, in a fixed order.

    Args:
        sentences: at most this number; None: all.
    """
    found = _sentences()[:sentences]
    return [pair for number, sample in enumerate(found) for pair in _pairs_of(sample, number, folder)]


def _sentences() -> list[Sample]:
    """Return one sample of each sentence of the demo split that is in contrast groups."""
    found: dict[str, Sample] = {}
    for task in TASKS:
        for sample in sorted(load_task(task).samples, key=lambda s: s.id):
            if sample.expect is None:
                found.setdefault(sample.transcript, sample)
    # Mixed, so that fewer sentences are of all tasks and languages.
    return sorted(found.values(), key=lambda s: sha256_of(f"{s.task} {s.id}"))


def _pairs_of(sample: Sample, number: int, folder: Path) -> list[VoicePair]:
    track = analyse(read_mono(sample.audio.path, rate=RATE)[0].astype(np.float64))
    label = list(TONES)[number % len(TONES)]
    tone = TONES[label]
    other_voice = Tone(
        pitch=tone.pitch + OTHER["pitch"],
        spread=tone.spread,
        rate=tone.rate,
        level=tone.level,
        punch=tone.punch,
        formants=OTHER["formants"],
    )
    others = {
        "flattened": FLAT,
        "wrong emotion": TONES[WRONG[label]],
        "other voice": other_voice,
        "identical": tone,
    }

    def voiced(tone: Tone, seed: int) -> AudioRef:
        sound = resynthesise(track, tone, seed=seed).astype(np.float32)
        return write_wav(Waveform(samples=np.clip(sound, -1, 1), sample_rate=RATE), folder)

    right = voiced(tone, 1)
    return [
        VoicePair(
            id=sha256_of(f"{sample.id} {kind} {VERSION}")[:12],
            sentence=sample.id,
            kind=kind,
            label=label,
            language=sample.language,
            words=sample.transcript,
            right=right,
            other=voiced(others[kind], 2),
        )
        for kind in KINDS
    ]


def questions_about(pair: VoicePair, rubric: Judge) -> list[Question]:
    """Return the question with the right recording first, and with it second."""
    orders = ((pair.right, pair.other), (pair.other, pair.right))
    return [
        Question(
            task="emotion",
            language=pair.language,
            transcript=pair.words,
            cues={"emotion": pair.label},
            reply="",
            rubric=rubric,
            recordings=tuple(
                Recording(name=f"voice {number}", audio=audio) for number, audio in enumerate(order, 1)
            ),
        )
        for order in orders
    ]


def ask_pairs(
    judge_client: JudgeClient,
    rubric: Judge,
    pairs: Sequence[VoicePair],
    *,
    repeats: int = 1,
    at_once: int = 4,
    on_result: Callable[[], None] = lambda: None,
) -> list[PairAnswers]:
    """Return the judge's answers about every pair, in order; call `on_result` after each."""
    (dimension,) = rubric.dimensions

    def answers_of(pair: VoicePair) -> PairAnswers:
        answers: list[int | None] = []
        reason = None
        for question, first in zip(questions_about(pair, rubric), (1, -1), strict=True):
            for repeat in range(repeats):
                try:
                    grade = judge_client.rule(question, repeat=repeat).verdict.grades[dimension]
                    answers.append({0: 0, 1: first, 2: -first}[grade])
                except (Unavailable, NotApplicable) as error:
                    answers.append(None)
                    reason = str(error)
        on_result()
        return PairAnswers(pair=pair, answers=tuple(answers), reason=reason)

    with ThreadPoolExecutor(max_workers=at_once) as pool:
        return list(pool.map(answers_of, pairs))


def right_share(found: Iterable[PairAnswers], kinds: Sequence[str] = PLANTED) -> ListeningShare:
    """Return the share of right answers about planted pairs; a tie counts half, a missing one is wrong."""
    rows = [
        (0.0 if answer is None else (answer + 1) / 2, answers.pair.sentence)
        for answers in found
        if answers.pair.kind in kinds
        for answer in answers.answers
    ]
    return _share(rows)


def winner_share(found: Iterable[PairAnswers], kind: str = "identical") -> ListeningShare:
    """Return the share of answers that name a winner; a missing one counts as naming one."""
    rows = [
        (1.0 if answer is None or answer != 0 else 0.0, answers.pair.sentence)
        for answers in found
        if answers.pair.kind == kind
        for answer in answers.answers
    ]
    return _share(rows)


def first_share(found: Iterable[PairAnswers]) -> ListeningShare | None:
    """Return the share of the first recording among answers that name one; None if none does."""
    rows = []
    for answers in found:
        half = len(answers.answers) // 2
        for number, answer in enumerate(answers.answers):
            if answer:
                rows.append((float((answer == 1) == (number < half)), answers.pair.sentence))
    return _share(rows) if rows else None


def _share(rows: Sequence[tuple[float, str]]) -> ListeningShare:
    """Return a share over sentences: the number of independent answers is at most that of sentences."""
    if not rows:
        raise UsageError("no pair to count; expected at least one sentence")
    values, clusters = zip(*rows, strict=True)
    found = cluster_mean(np.asarray(values), clusters)
    low, high, _ = share_limits(replace(found, n=found.clusters)) or (None, None, None)
    return ListeningShare(value=found.value, low=low, high=high, pairs=len(rows), sentences=found.clusters)
