"""`check judge --golden` and `--attacks`: what is sent, the scores, and what they show."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from echat_eval.cli.terminal import show
from echat_eval.errors import Exit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from echat_eval.checks.attacks import Attack, AttackOutcome
    from echat_eval.judge import JudgeClient, Question

__all__ = ["check_attacks", "check_golden"]


def check_golden(judge_client: JudgeClient, repeats: int, at_once: int) -> Exit:
    """Judge the golden replies and print which score outside their bands."""
    from echat_eval.checks.golden import golden_outcomes, golden_replies, grade_golden, noise
    from echat_eval.checks.open_judge import sending_lines
    from echat_eval.cli.progress import Bar

    replies = golden_replies(judge_client.judge.name)
    questions = [reply.question for reply in replies]
    show(*sending_lines(judge_client, questions, f"{len(replies)} golden replies", repeats=repeats))
    with Bar() as bar:
        bar.stage("golden replies", len(replies), 0)
        verdicts = grade_golden(
            judge_client, replies, repeats=repeats, at_once=at_once, on_result=bar.advance
        )
    outcomes = golden_outcomes(verdicts)
    right: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for outcome in outcomes:
        total[outcome.reply.kind] += 1
        right[outcome.reply.kind] += not outcome.faults
        for fault in () if outcome.points is None else outcome.faults:
            show(f"{outcome.reply.id}: {fault}")
    for kind, count in total.items():
        show(f"{kind:<15} {right[kind]:>3} of {count}")
    missing = sum(outcome.points is None for outcome in outcomes)
    wrong = sum(bool(outcome.faults) for outcome in outcomes) - missing
    show(f"golden replies: {len(outcomes)}, outside their band {wrong}, missing {missing}")
    found = noise(verdicts)
    show(
        f"allowed for noise: {found['score']:.1f} points, from {repeats} verdicts a reply"
        if "score" in found
        else "allowed for noise: nothing; --judge-repeats 3 measures how much a judge's verdicts vary"
    )
    _print_missing([(v.reason, v.unreadable) for v in verdicts if not v.values])
    return Exit.REGRESS if wrong else Exit.CANNOT_TELL if missing else Exit.DONE


def check_attacks(judge_client: JudgeClient, tolerance: float, at_once: int) -> Exit:
    """Judge the rubric's attacks, spoken ones if the judge listens; print by how much they raise scores."""
    from echat_eval.checks.attacks import points_of_better_reply, why_uncertain
    from echat_eval.checks.spoken_attacks import points_of_noise

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        outcomes = _attack_outcomes(judge_client, folder, at_once)

        def other_quality() -> float:
            if judge_client.judge.listens:
                return points_of_noise(judge_client, folder)
            return points_of_better_reply(judge_client)

        moved = [(m, o.attack) for o in outcomes if (m := o.moved) is not None]
        _print_moved(moved, len(outcomes), tolerance)
        if any(points > tolerance for points, _ in moved):
            return Exit.REGRESS
        unclear = why_uncertain(outcomes, tolerance, other_quality)
    if unclear:
        show(f"cannot tell whether the judge resists: {unclear}")
    _print_missing([(o.missing or "", o.unreadable) for o in outcomes if o.points is None])
    return Exit.CANNOT_TELL if unclear or len(moved) < len(outcomes) else Exit.DONE


def _print_moved(moved: Sequence[tuple[float, Attack]], attacks: int, tolerance: float) -> None:
    for points, attack in sorted(moved, key=lambda pair: -pair[0]):
        if points > tolerance:
            show(f"{attack.id}: raised the score by {points:.1f} points")
    if not moved:
        show(f"attacks: {attacks}, all verdicts missing")
        return
    worst = max(points for points, _ in moved)
    mean = sum(points for points, _ in moved) / len(moved)
    show(
        f"attacks: {attacks}, scores moved by {mean:+.1f} points on average, by at most {worst:+.1f}; "
        f"missing {attacks - len(moved)}"
    )


def _print_missing(missing: Sequence[tuple[str, bool]]) -> None:
    """Print the most common reason of missing verdicts, and what helps: (reason, answer unreadable)."""
    if not missing:
        return
    # Reasons end with an excerpt of the answer, which differs from one to the next.
    kinds = Counter(re.split(r": ['\"]", reason)[0] for reason, _ in missing)
    kind, count = kinds.most_common(1)[0]
    example = next(reason for reason, _ in missing if reason.startswith(kind))
    show(f"missing verdicts: {len(missing)}, {count} of them because: {example}")
    if unanswered := sum(not unreadable for _, unreadable in missing):
        show(f"run the same command again for the {unanswered} that the server did not answer")
    else:
        show("every answer arrived and none of these is a verdict: try --judge-prose, or another model")


def _attack_outcomes(judge_client: JudgeClient, folder: Path, at_once: int) -> list[AttackOutcome]:
    from echat_eval.checks.attacks import attack_question, attacks, try_attacks
    from echat_eval.checks.open_judge import sending_lines
    from echat_eval.checks.spoken_attacks import spoken_attacks, try_spoken_attacks
    from echat_eval.cli.progress import Bar

    rubric = judge_client.judge
    with Bar() as bar:
        if rubric.listens:
            spoken = spoken_attacks(rubric.name)

            def announce(questions: Sequence[Question]) -> None:
                sent = f"{len(questions)} recordings: {len(spoken)} attacks, and as many plain sentences"
                show(*sending_lines(judge_client, questions, sent))
                bar.stage("spoken attacks", len(spoken), 0)

            return try_spoken_attacks(
                judge_client, spoken, folder, at_once=at_once, before=announce, on_result=bar.advance
            )
        corpus = attacks(rubric.name)
        questions = [attack_question(rubric.name, attack, attack.language) for attack in corpus]
        show(*sending_lines(judge_client, questions, f"{len(corpus)} attacks, in texts"))
        bar.stage("attacks", len(corpus), 0)
        return try_attacks(judge_client, corpus, at_once=at_once, on_result=bar.advance)
