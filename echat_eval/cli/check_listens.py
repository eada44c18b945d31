"""`check judge --listens`: does a judge detect what was done to a voice?"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from echat_eval.cli.terminal import show
from echat_eval.errors import Exit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from echat_eval.checks.listening import PairAnswers
    from echat_eval.checks.open_judge import JudgeSettings
    from echat_eval.scorers.listening_result import ListeningResult

__all__ = ["check_listens"]


def check_listens(
    settings: JudgeSettings,
    *,
    repeats: int,
    at_once: int,
    sentences: int | None,
    stimuli: Path | None,
    people: Path | None,
    run: Path | None,
) -> Exit:
    """Put pairs of recordings to a judge, print its figures, and keep the result in a run folder."""
    from echat_eval.checks.listening_people import read_people, write_sheet
    from echat_eval.checks.run_listening import keep_result, open_check
    from echat_eval.cli.progress import Bar
    from echat_eval.store.select import open_run

    if run is not None:
        open_run(str(run))  # refused before anything is asked
    with tempfile.TemporaryDirectory() as scratch:
        check = open_check(
            settings,
            Path(scratch) if stimuli is None else stimuli,
            sentences=sentences,
            repeats=repeats,
            at_once=at_once,
            note=lambda text: show(f"note: {text}", err=True),
        )
        if stimuli is not None:
            sheet = write_sheet(stimuli, check.pairs)
            show(f"{sheet}: {len(check.pairs)} pairs for people; fill in rater and answer")
        rated = [] if people is None else read_people(people, check.pairs)
        show(*check.lines())
        with Bar() as bar:
            bar.stage("pairs of recordings", len(check.pairs), 0)
            answers = check.ask(bar.advance)
        result = check.result(answers)
        check.close()
    nothing = result.missing == sum(len(found.answers) for found in answers)
    if not nothing or rated:
        _print_figures(answers, rated)
    if result.missing:
        reason = next(found.reason for found in answers if found.reason)
        show(f"missing answers: {result.missing}, which count against the judge: {reason}")
    if nothing:
        show(f"cannot tell whether {result.model} listens: no answer could be read")
        return Exit.CANNOT_TELL
    if run is not None:
        held = keep_result(run, result)
        show(
            f"kept in {run}, whose tables read it"
            if held is result
            else f"not kept: {run} has a result of {held.right.sentences} sentences, this one has "
            f"{result.right.sentences}"
        )
    return _decide(result)


def _print_figures(answers: Sequence[PairAnswers], rated: Sequence[PairAnswers]) -> None:
    from echat_eval.checks.listening import PLANTED, first_share, right_share, winner_share

    people = {found.pair.kind for found in rated}
    show("", f"{'pairs':<16} {'':<8} {'judge':<18} people".rstrip())
    for kind in PLANTED:
        theirs = str(right_share(rated, [kind])) if kind in people else "not rated"
        show(f"{kind:<16} {'right':<8} {right_share(answers, [kind])!s:<18} {theirs}")
    for kind in ("identical", "other voice"):
        theirs = str(winner_share(rated, kind)) if kind in people else "not rated"
        show(f"{kind:<16} {'a winner':<8} {winner_share(answers, kind)!s:<18} {theirs}")
    if (first := first_share(answers)) is not None:
        show(f"the first recording was named in {first} of the answers that name one")


def _decide(result: ListeningResult) -> Exit:
    show("")
    if result.passed:
        show(f"{result.model} listens: {result}")
        return Exit.DONE
    if result.missing or not result.failed:
        show(f"cannot tell whether {result.model} listens: {result.why_not}")
        return Exit.CANNOT_TELL
    show(f"{result.model} does not listen: {result.why_not}")
    return Exit.REGRESS
