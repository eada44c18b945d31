"""Result of `check judge --listens`, kept in run folders and read by every table with scores of voices."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from echat_eval.clients.chat import OPENAI
from echat_eval.errors import BadData
from echat_eval.io.files import write_atomically
from echat_eval.io.hashing import digest
from echat_eval.io.jsonl import dumps, loads
from echat_eval.io.phrase import phrase
from echat_eval.io.schema import STRING, Rule, Schema, number, whole
from echat_eval.judge import ServerIdentity
from echat_eval.scorers.judged_match import JudgedMatch
from echat_eval.scorers.judged_voice import JudgedVoice

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from echat_eval.store.run_folder import RunFolder

__all__ = [
    "MAX_WINNERS",
    "MIN_RIGHT",
    "ListeningResult",
    "ListeningShare",
    "how_to_check",
    "listening_notes",
    "unproven_metrics",
    "write_result",
]

#: A judge passes if the lower bound of its share of right answers about planted prosody is at least the one,
#: and the upper bound of its share of winners among identical pairs at most the other.
MIN_RIGHT, MAX_WINNERS = 0.75, 0.15


@dataclass(frozen=True, slots=True, kw_only=True)
class ListeningShare:
    """A share of answers with its 95 % interval over sentences.

    Attributes:
        low, high: None: unknown, with one sentence.
        pairs: number of answers.
    """

    value: float
    low: float | None
    high: float | None
    pairs: int
    sentences: int

    def __str__(self) -> str:
        """Return the share in percent."""
        bounds = (
            "(no interval)"
            if self.low is None or self.high is None
            else (f"[{100 * self.low:.0f}, {100 * self.high:.0f}]")
        )
        return f"{100 * self.value:.0f} % {bounds}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListeningResult:
    """How a judge answered which of two recordings sounds like a label.

    Attributes:
        fingerprint: of the judge as served and of its rubric (`JudgeScorer.fingerprint`).
        question: fingerprint of the question's rubric.
        recordings: version of the recordings.
        url: base URL of the server that answered, without secrets; None: OpenAI.
        served: identities that the server reported in its answers.
        right: share of right answers about planted prosody.
        winners: share of winners among identical pairs.
        other_voice: share of winners where only the voice differs.
        missing: answers that are missing; they count against the judge.
    """

    model: str
    rubric: str
    fingerprint: str
    question: str
    recordings: int
    right: ListeningShare
    winners: ListeningShare
    other_voice: ListeningShare
    missing: int = 0
    url: str | None = None
    served: tuple[ServerIdentity, ...] = ()

    @property
    def passed(self) -> bool:
        """Return whether the judge may rank voices."""
        low, high = self.right.low, self.winners.high
        return low is not None and high is not None and low >= MIN_RIGHT and high <= MAX_WINNERS

    @property
    def failed(self) -> bool:
        """Return whether it did not pass, and more sentences would not change that."""
        high, low = self.right.high, self.winners.low
        return (high is not None and high < MIN_RIGHT) or (low is not None and low > MAX_WINNERS)

    def is_of(self, settings: Mapping[str, Any]) -> bool:
        """Return whether the server that answered is the one that gave a run's scores.

        Args:
            settings: of the judge's scorer in the run's manifest.
        """
        served = settings.get("served")
        return self.url == settings.get("url") and any(asdict(found) == served for found in self.served)

    def __str__(self) -> str:
        """Return the figures in words."""
        return f"right about planted prosody in {self.right}, a winner in {self.winners} of identical pairs"

    @property
    def why_not(self) -> str:
        """Return the figures, and what was expected."""
        return (
            f"{self} (expected: at least {100 * MIN_RIGHT:.0f} % at the lower bound, at most "
            f"{100 * MAX_WINNERS:.0f} % at the upper bound)"
        )


_SHARE = Schema(
    {
        "value": number(0, 1),
        "low": number(0, 1).optional(),
        "high": number(0, 1).optional(),
        "pairs": whole(1),
        "sentences": whole(1),
    }
)
_SHARES = ("right", "winners", "other_voice")
_SERVED = Schema({"model": STRING, "server": STRING.optional()})
_RESULT = Schema(
    {
        **dict.fromkeys(("model", "rubric", "fingerprint", "question"), STRING),
        **dict.fromkeys(_SHARES, Rule(_SHARE.holds, "a share with its interval")),
        "recordings": whole(1),
        "missing": whole(0),
        "url": STRING.optional(),
        "served": Rule(
            lambda value: isinstance(value, list) and all(map(_SERVED.holds, value)), "a list of servers"
        ).optional(),
    }
)


def write_result(folder: Path, result: ListeningResult) -> ListeningResult:
    """Keep a result in a run folder and return the one that the folder holds.

    It takes the place of an earlier one of the same judge and server, unless that has more sentences.
    """
    path = _path(folder, result)
    if path.is_file():
        held = _read(path)
        same = (held.recordings, held.question) == (result.recordings, result.question)
        if same and held.right.sentences > result.right.sentences:
            return held
    write_atomically(path, (dumps(asdict(result)) + "\n").encode())
    return result


def _path(folder: Path, result: ListeningResult) -> Path:
    """Return the file of a result; results of several servers stand side by side."""
    server = digest("listening server", [result.url, *map(asdict, result.served[:1])])
    return folder / f"listening-{result.fingerprint[:16]}-{server[:8]}.json"


def read_results(folder: Path, fingerprint: str) -> list[ListeningResult]:
    """Return the results of a judge, one per server; empty: it was not put to the check.

    Raises:
        BadData: a file is no result.
    """
    found = map(_read, sorted(folder.glob(f"listening-{fingerprint[:16]}*.json")))
    return [result for result in found if result.fingerprint == fingerprint]


def _read(path: Path) -> ListeningResult:
    try:
        row: Any = loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadData(f"{path}: cannot be read: {error}; run `check judge --listens` again") from error
    if not _RESULT.holds(row):
        raise BadData(f"{path}: not a result of `check judge --listens`; delete it and run the check again")
    shares = {name: ListeningShare(**{"low": None, "high": None, **row[name]}) for name in _SHARES}
    served = tuple(ServerIdentity(**{"server": None, **own}) for own in row.get("served") or ())
    return ListeningResult(**{**row, **shares, "served": served})


def listening_notes(folder: RunFolder) -> list[str]:
    """Return one line per judge that listens: whether it may rank voices."""
    lines: list[str] = []
    for title, settings, _, results in _listeners(folder):
        result = _result_of(settings, results)
        if result is None and results:
            lines.append(
                phrase(
                    "{judge} has not passed `check judge --listens`: the result in this folder is of "
                    "{other}, these scores are of {server}; {command}",
                    judge=title,
                    other=str(_server(results[-1])),
                    server=str(settings.get("url") or OPENAI),
                    command=how_to_check(folder.path),
                )
            )
        elif result is None:
            lines.append(
                phrase(
                    "{judge} has not been put to `check judge --listens`: its scores of voices may not rank "
                    "systems; {command}",
                    judge=title,
                    command=how_to_check(folder.path),
                )
            )
        elif result.passed:
            passed = str(result)
            lines.append(
                phrase("{judge} has passed `check judge --listens`: {result}", judge=title, result=passed)
            )
        else:
            lines.append(
                phrase(
                    "{judge} has not passed `check judge --listens`: its scores of voices may not rank "
                    "systems; {why}",
                    judge=title,
                    why=str(result.why_not),
                )
            )
    return lines


def unproven_metrics(folder: RunFolder) -> dict[str, str]:
    """Return metric -> its judge, for judges that listen and have not passed the check."""
    return {
        metric: title
        for title, settings, metrics, results in _listeners(folder)
        if (result := _result_of(settings, results)) is None or not result.passed
        for metric in metrics
    }


def how_to_check(folder: Path) -> str:
    """Return the command that puts the judge of a run to the check."""
    return f"`echat-eval check judge --listens --judge MODEL --run {folder}`"


def _result_of(settings: Mapping[str, Any], results: list[ListeningResult]) -> ListeningResult | None:
    """Return the result of the server that gave the scores; None: there is none."""
    return next((result for result in results if result.is_of(settings)), None)


def _server(result: ListeningResult) -> str:
    """Return the address of a result's server, and the fingerprints that it reported."""
    if not result.served:
        return "a server that it does not name"
    fingerprints = ", ".join(str(own.server) for own in result.served if own.server is not None)
    return f"another server ({result.url or OPENAI}" + (
        f", fingerprint {fingerprints})" if fingerprints else ")"
    )


def _listeners(
    folder: RunFolder,
) -> Iterator[tuple[str, Mapping[str, Any], tuple[str, ...], list[ListeningResult]]]:
    """Yield title, settings, metrics (the match question's, too) and results of each judge that listens."""
    scorers = folder.manifest().scorers
    for name, facts in scorers.items():
        kind, _, own = name.partition(":")
        if kind != JudgedVoice.kind:
            continue
        match = scorers.get(name.replace(kind, JudgedMatch.kind, 1))
        metrics = (*(facts.metrics or ()), *((match.metrics or ()) if match is not None else ()))
        title = f"judge {own or facts.settings.get('rubric')} ({facts.settings.get('model')})"
        results = read_results(folder.path, facts.fingerprint) if facts.fingerprint else []
        yield title, facts.settings, metrics, results
