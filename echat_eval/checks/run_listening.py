"""The listening check as a command runs it: what it sends and costs, the answers, and the result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from echat_eval.checks.listening import (
    PairAnswers,
    VoicePair,
    ask_pairs,
    make_pairs,
    questions_about,
    right_share,
    winner_share,
)
from echat_eval.checks.open_judge import sending_lines
from echat_eval.checks.revoice import VERSION
from echat_eval.judge import Judge, load_pair
from echat_eval.scorers.judge_scorer import JudgeScorer
from echat_eval.scorers.judge_settings import JudgeSettings, scorers_of_judge
from echat_eval.scorers.listening_result import ListeningResult, write_result
from echat_eval.store.select import open_run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

__all__ = ["ListeningCheck", "keep_result", "open_check"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListeningCheck:
    """Pairs of recordings for one judge.

    Attributes:
        scorer: of the judge as a run would use it; its fingerprint identifies the result.
        rubric: of the question about a pair.
    """

    scorer: JudgeScorer
    rubric: Judge
    pairs: Sequence[VoicePair]
    repeats: int
    at_once: int

    def lines(self) -> list[str]:
        """Return the destination, the contents and the expected cost; nothing is sent."""
        questions = [question for pair in self.pairs for question in questions_about(pair, self.rubric)]
        sent = f"{len(self.pairs)} pairs of recordings of the demo split, with words and labels"
        return sending_lines(self.scorer.judge_client, questions, sent, repeats=self.repeats)

    def ask(self, on_result: Callable[[], None]) -> list[PairAnswers]:
        """Return the judge's answers; call `on_result` after each pair."""
        return ask_pairs(
            self.scorer.judge_client,
            self.rubric,
            self.pairs,
            repeats=self.repeats,
            at_once=self.at_once,
            on_result=on_result,
        )

    def result(self, answers: Sequence[PairAnswers]) -> ListeningResult:
        """Return the result of the judge's answers."""
        settings = self.scorer.settings()
        return ListeningResult(
            model=self.scorer.judge_client.client.model,
            rubric=self.scorer.judge.name,
            fingerprint=self.scorer.fingerprint(),
            question=self.rubric.fingerprint(),
            recordings=VERSION,
            right=right_share(answers),
            winners=winner_share(answers),
            other_voice=winner_share(answers, "other voice"),
            missing=sum(answer is None for found in answers for answer in found.answers),
            url=settings["url"],
            served=self.scorer.judge_client.identities,
        )

    def close(self) -> None:
        """Close the judge's connections."""
        self.scorer.close()


def open_check(
    settings: JudgeSettings,
    folder: Path,
    *,
    sentences: int | None = None,
    repeats: int = 1,
    at_once: int = 4,
    note: Callable[[str], None],
) -> ListeningCheck:
    """Write the recordings into a folder and return the check of a judge.

    Args:
        settings: of a judge that listens.
        folder: for the recordings; created if it does not exist.
        sentences: at most this number.
        repeats: answers per order of a pair.
        at_once: maximum concurrent calls.
        note: called if the model behind the name may change.

    Raises:
        UnknownName: no rubric has this name.
        UsageError: the rubric is for a judge that reads, or has no question about pairs.
    """
    scorer = scorers_of_judge(settings, note=note)[0]
    rubric = load_pair(scorer.judge.name)
    folder.mkdir(parents=True, exist_ok=True)
    pairs = make_pairs(folder, sentences)
    return ListeningCheck(scorer=scorer, rubric=rubric, pairs=pairs, repeats=repeats, at_once=at_once)


def keep_result(run: Path, result: ListeningResult) -> ListeningResult:
    """Keep a result in a run folder, whose tables read it; return the one that counts there.

    Raises:
        BadData: no run folder.
    """
    return write_result(open_run(str(run)).path, result)
