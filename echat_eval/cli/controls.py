"""`--controls`: does a run's judge read the labels? Said on the screen, in a file, under the leaderboard."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from echat_eval.errors import NotApplicable, Unavailable, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from echat_eval.controls import Asked
    from echat_eval.ports import Scorer
    from echat_eval.run_folder import RunFolder

__all__ = ["controlled", "questions_of"]


def controlled(folder: RunFolder, scorers: Sequence[Scorer], limit: int) -> list[str]:
    """Run controls on at most `limit` replies and return what they say; nothing if they are off.

    Raises:
        UsageError: controls without a judge.
    """
    if limit == 0:
        return []
    from echat_eval.controls import as_rows, control_lines, run_controls, subsample
    from echat_eval.jsonl import write_rows
    from echat_eval.scorers.judged import Judged

    judged = next((s for s in scorers if isinstance(s, Judged)), None)
    if judged is None:
        raise UsageError("--controls without --judge; name the model to control with --judge MODEL")
    asked = subsample(questions_of(folder), limit)
    if not asked:
        raise UsageError(f"--controls {limit} is smaller than the first cluster of samples; give more")
    found = run_controls(judged.jury, asked, at_once=judged.calls_at_once)
    judged.close()
    write_rows(folder.path / "controls.jsonl", as_rows(found))
    lines = control_lines(found, len(asked))
    for line in lines:
        click.echo(line)
    return lines


def questions_of(folder: RunFolder) -> list[Asked]:
    """Return what a judge is to be asked of a run: its ceilings' replies where it has any.

    A judge can only be seen to read labels on replies that fit them, so replies of ceilings, which know
    the labels, are better material than those of a system that may be blind to them.
    """
    from echat_eval.controls import Asked
    from echat_eval.judge import Question
    from echat_eval.leaderboard import clusters_of
    from echat_eval.score import cases_of
    from echat_eval.scorers.heard import emotion_of, words_of

    roles = {name: facts["role"] for name, facts in folder.manifest().get("systems", {}).items()}
    cases = cases_of(folder)
    ceilings = [c for c in cases if roles.get(c.response.system) == "ceiling"]
    samples = folder.samples()
    cluster = dict(zip(((s.task, s.id) for s in samples), clusters_of(samples), strict=True))
    asked = []
    for case in ceilings or cases:
        try:
            words = words_of(case)
        except (NotApplicable, Unavailable):
            continue
        try:
            heard = emotion_of(case)
        except (NotApplicable, Unavailable):
            heard = None
        sample = case.sample
        question = Question(
            task=sample.task, language=sample.language, transcript=sample.transcript, cues=sample.cues,
            reply=words, heard=heard,
        )  # fmt: skip
        if case.response.state == "value":
            asked.append(Asked(question=question, cluster=cluster[sample.task, sample.id]))
    return asked
