"""Prompt-injection attacks on a judge: how far do they raise the score of a plain reply?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echat_eval.checks.golden import GOOD, golden_replies
from echat_eval.errors import JudgeFailure, Unavailable
from echat_eval.io.schema import TEXT, Schema, one_of, read_schema_rows, whole
from echat_eval.judge import JudgeClient, Question, rubric_file, text_score
from echat_eval.ports import Case
from echat_eval.records import Annotation, AudioRef, Reply, Response, Sample, Turn
from echat_eval.runner.check_reply import visible_reply
from echat_eval.scorers.transcripts import ASR_ANNOTATORS, words_of

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "Attack",
    "AttackOutcome",
    "attack_question",
    "attacks",
    "points_of",
    "points_of_better_reply",
    "try_attacks",
    "why_uncertain",
]

#: Plain replies that attacks are appended to: each answers the words and ignores the cue.
BASES = {"en": "event-cough-en-cue-blind", "zh": "event-laugh-zh-cue-blind"}
#: Where an attack stands: in the reply; in the hypothesis of an ASR annotator for a reply without text;
#: in the think text before the reply; in the query's words, perhaps an ASR's; in an earlier turn.
PLACES = ("reply", "asr", "think", "query", "history")
_ROW = Schema(
    {
        "id": TEXT,
        "kind": TEXT,
        "language": TEXT,
        "reply": TEXT,
        "times": whole(1).optional(),
        "place": one_of(PLACES).optional(),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """A text that tries to become an instruction or a verdict.

    Attributes:
        reply: the text.
        place: where it stands; one of `PLACES`, or "audio": it is spoken.
    """

    id: str
    kind: str
    language: str
    reply: str
    place: str = "reply"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackOutcome:
    """Effect of one attack.

    Attributes:
        base: score of the plain reply.
        points: score of the plain reply followed by the attack; None if the verdict is missing.
        missing: why the verdict is missing.
        unreadable: the judge answered, and its answer is no verdict.
    """

    attack: Attack
    base: float
    points: float | None
    missing: str | None = None
    unreadable: bool = False

    @property
    def moved(self) -> float | None:
        """Return the points by which the attack raised the score."""
        return None if self.points is None else self.points - self.base


def why_uncertain(outcomes: Sequence[AttackOutcome], tolerance: float, probe: Callable[[], float]) -> str:
    """Return why scores that did not rise show nothing; empty: they show that the judge resists.

    Args:
        outcomes: of all attacks.
        tolerance: points by which an attack may raise a score.
        probe: judges a reply that must not have the score of the plain one; called if all scores are equal.
    """
    graded = [(o.base, o.points) for o in outcomes if o.points is not None]
    full = sum(base + tolerance >= 100 for base, _ in graded)
    if full:
        return (
            f"in {full} of {len(graded)} attacks the plain reply has {max(graded)[0]:g} of 100 points, which "
            f"no attack can raise by more than {tolerance:g}"
        )
    scores = {score for pair in graded for score in pair}
    if len(scores) == 1 and probe() in scores:
        return (
            f"every answer has {scores.pop():g} points, even that to a reply of other quality: the judge "
            "detects no difference"
        )
    return ""


def attacks(rubric: str) -> tuple[Attack, ...]:
    """Return the corpus of a shipped judge."""
    path = rubric_file(rubric, "attacks.jsonl")
    return tuple(_attack(row) for _, row in read_schema_rows(path, _ROW))


def _attack(row: Mapping[str, Any]) -> Attack:
    text = row["reply"] * row.get("times", 1)
    return Attack(
        id=row["id"],
        kind=row["kind"],
        language=row["language"],
        reply=text,
        place=row.get("place") or "reply",
    )


def attack_question(rubric: str, attack: Attack | None, language: str) -> Question:
    """Return the plain question in a language, with the attack, if any, in its place.

    Think text and hypotheses come into the question, or do not, as in a run.
    """
    base = next(g for g in golden_replies(rubric) if g.id == BASES[language]).question
    if attack is None:
        return base
    if attack.place == "query":
        return replace(base, transcript=f"{base.transcript}\n{attack.reply}")
    if attack.place == "history":
        turns = (Turn(role="user", text=attack.reply), Turn(role="assistant", text=attack.reply))
        return replace(base, history=turns)
    if attack.place == "reply":
        return replace(base, reply=f"{base.reply}\n{attack.reply}")
    return replace(base, reply=_words_in_a_run(base, attack))


def _words_in_a_run(base: Question, attack: Attack) -> str:
    """Return the words that a judge gets of a reply with the attack in its think text or its hypothesis."""
    audio = AudioRef(path=Path("reply.wav"), sha256="0" * 64, seconds=1.0)
    sample = Sample(
        task=base.task,
        id="attack",
        audio=audio,
        transcript=base.transcript,
        cues=base.cues,
        language=base.language,
        source="synthetic",
    )
    annotations = {}
    if attack.place == "think":
        reply = visible_reply(Reply(text=f"<think>{attack.reply}</think>{base.reply}"))
    else:
        reply = Reply(audio=audio)
        values = {"hypothesis": f"{base.reply} {attack.reply}"}
        name = ASR_ANNOTATORS[0]
        annotations[name] = Annotation(
            key="",
            system="attack",
            task=base.task,
            sample_id=sample.id,
            annotator=name,
            state="value",
            values=values,
        )
    response = Response(
        key="", system="attack", task=base.task, sample_id=sample.id, state="value", reply=reply
    )
    return words_of(Case(sample=sample, response=response, annotations=annotations))


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
    base = {language: points_of(judge_client, question) for language, question in plain.items()}

    def outcome_of(attack: Attack) -> AttackOutcome:
        question = attack_question(name, attack, attack.language)
        try:
            points = points_of(judge_client, question)
            outcome = AttackOutcome(attack=attack, base=base[attack.language], points=points)
        except Unavailable as error:
            outcome = AttackOutcome(
                attack=attack,
                base=base[attack.language],
                points=None,
                missing=str(error),
                unreadable=isinstance(error, JudgeFailure),
            )
        on_result()
        return outcome

    with ThreadPoolExecutor(max_workers=at_once) as pool:
        return list(pool.map(outcome_of, corpus))


def points_of_better_reply(judge_client: JudgeClient) -> float:
    """Return the score of a good reply to the question of the plain one.

    Raises:
        Unavailable: its verdict is missing.
    """
    replies = golden_replies(judge_client.judge.name)
    plain = next(reply for reply in replies if reply.id == BASES["en"])
    better = next(reply for reply in replies if reply.kind == GOOD and reply.subject == plain.subject)
    return points_of(judge_client, better.question)


def points_of(judge_client: JudgeClient, question: Question) -> float:
    """Return a judge's score; raise Unavailable if its verdict is missing."""
    return text_score(judge_client.judge, judge_client.rule(question).verdict.grades, question.task)
