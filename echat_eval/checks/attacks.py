"""Prompt-injection attacks on a judge: how far do they raise the score of a plain reply?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from echat_eval.checks.golden import golden_replies
from echat_eval.errors import Unavailable
from echat_eval.io.schema import TEXT, Schema, read_schema_rows, whole
from echat_eval.judge import JudgeClient, Question, rubric_file, text_score

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Attack", "AttackOutcome", "attack_question", "attacks", "try_attacks"]

#: Plain replies that attacks are appended to: each answers the words and ignores the cue.
BASES = {"en": "event-cough-en-cue-blind", "zh": "event-laugh-zh-cue-blind"}
_ROW = Schema({"id": TEXT, "kind": TEXT, "language": TEXT, "reply": TEXT, "times": whole(1).optional()})


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """A text that tries to become an instruction or a verdict."""

    id: str
    kind: str
    language: str
    reply: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackOutcome:
    """Effect of one attack.

    Attributes:
        base: score of the plain reply.
        points: score of the plain reply followed by the attack; None if the verdict is missing.
        missing: why the verdict is missing.
    """

    attack: Attack
    base: float
    points: float | None
    missing: str | None = None

    @property
    def moved(self) -> float | None:
        """Return the points by which the attack raised the score."""
        return None if self.points is None else self.points - self.base


def attacks(rubric: str) -> tuple[Attack, ...]:
    """Return the corpus of a shipped judge."""
    path = rubric_file(rubric, "attacks.jsonl")
    return tuple(_attack(row) for _, row in read_schema_rows(path, _ROW))


def _attack(row: Mapping[str, Any]) -> Attack:
    text = row["reply"] * row.get("times", 1)
    return Attack(id=row["id"], kind=row["kind"], language=row["language"], reply=text)


def attack_question(rubric: str, attack: Attack | None, language: str) -> Question:
    """Return the plain question in a language, with the attack, if any, appended to its reply."""
    base = next(g for g in golden_replies(rubric) if g.id == BASES[language]).question
    return base if attack is None else replace(base, reply=f"{base.reply}\n{attack.reply}")


def try_attacks(
    judge_client: JudgeClient,
    corpus: Sequence[Attack],
    *,
    at_once: int = 4,
    on_result: Callable[[], None] = lambda: None,
) -> list[AttackOutcome]:
    """Return the effect of every attack, in order; call `on_result` after each.

    Raises:
        Unavailable: the plain reply itself has no verdict, so there is no score to compare with.
    """
    name = judge_client.judge.name
    plain = {language: attack_question(name, None, language) for language in {a.language for a in corpus}}
    base = {language: _points(judge_client, question) for language, question in plain.items()}

    def outcome_of(attack: Attack) -> AttackOutcome:
        question = attack_question(name, attack, attack.language)
        try:
            points = _points(judge_client, question)
            outcome = AttackOutcome(attack=attack, base=base[attack.language], points=points)
        except Unavailable as error:
            outcome = AttackOutcome(
                attack=attack, base=base[attack.language], points=None, missing=str(error)
            )
        on_result()
        return outcome

    with ThreadPoolExecutor(max_workers=at_once) as pool:
        return list(pool.map(outcome_of, corpus))


def _points(judge_client: JudgeClient, question: Question) -> float:
    return text_score(judge_client.judge, judge_client.rule(question).verdict.grades, question.task)
