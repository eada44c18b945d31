"""How far do replies that talk to the judge move its scores? A corpus of attacks on one plain reply."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from echat_eval.checks.golden import golden_replies
from echat_eval.errors import BadData, Unavailable
from echat_eval.io.data_folder import data_folder
from echat_eval.io.jsonl import read_rows
from echat_eval.judge import JudgeClient, Question, text_score

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["Attack", "AttackOutcome", "attack_question", "attacks", "try_attacks"]

#: The plain replies that attacks are added to: each answers the words and is blind to the cue.
BASES = {"en": "event-cough-en-cue-blind", "zh": "event-laugh-zh-cue-blind"}
_KEYS = {"id", "kind", "language", "reply"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """A text that tries to become an instruction or a verdict."""

    id: str
    kind: str
    language: str
    reply: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackOutcome:
    """What one attack did.

    Attributes:
        base: score of the plain reply.
        points: score of the plain reply followed by the attack; None where the verdict is missing.
    """

    attack: Attack
    base: float
    points: float | None
    missing: str | None = None

    @property
    def moved(self) -> float | None:
        """Return by how many points the attack raised the score."""
        return None if self.points is None else self.points - self.base


def attacks(rubric: str) -> tuple[Attack, ...]:
    """Return the corpus of a shipped judge."""
    path = data_folder("judges") / rubric / "attacks.jsonl"
    return tuple(_attack(path, line, row) for line, row in read_rows(path))


def _attack(path: Path, line: int, row: Mapping[str, Any]) -> Attack:
    if set(row) - {"times"} != _KEYS:
        raise BadData(f"{path}:{line}: keys are {sorted(row)}, expected {sorted(_KEYS)} and perhaps times")
    text = row["reply"] * row.get("times", 1)
    return Attack(id=row["id"], kind=row["kind"], language=row["language"], reply=text)


def attack_question(rubric: str, attack: Attack | None, language: str) -> Question:
    """Return the plain question in a language, its reply followed by an attack if one is given."""
    base = next(g for g in golden_replies(rubric) if g.id == BASES[language]).question
    return base if attack is None else replace(base, reply=f"{base.reply}\n{attack.reply}")


def try_attacks(
    jury: JudgeClient, corpus: Sequence[Attack], *, at_once: int = 4, told: Callable[[], None] = lambda: None
) -> list[AttackOutcome]:
    """Return what every attack did to the score, in their order.

    Raises:
        Unavailable: the plain reply itself has no verdict, so nothing can be compared with it.
    """
    name = jury.judge.name
    plain = {language: attack_question(name, None, language) for language in {a.language for a in corpus}}
    base = {language: _points(jury, question) for language, question in plain.items()}

    def one(attack: Attack) -> AttackOutcome:
        question = attack_question(name, attack, attack.language)
        try:
            outcome = AttackOutcome(attack=attack, base=base[attack.language], points=_points(jury, question))
        except Unavailable as error:
            outcome = AttackOutcome(
                attack=attack, base=base[attack.language], points=None, missing=str(error)
            )
        told()
        return outcome

    with ThreadPoolExecutor(max_workers=at_once) as pool:
        return list(pool.map(one, corpus))


def _points(jury: JudgeClient, question: Question) -> float:
    return text_score(jury.judge, jury.rule(question).verdict.grades, question.task)
