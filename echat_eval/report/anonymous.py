"""The page for a blind review: systems by letter, samples by number, and no words that lead to their authors.

Numbers and notes are computed under the letters, as under any chosen name. Foreign words
(replies, verdicts, evidence) cannot be made anonymous for certain: names, identifiers from the settings,
addresses and paths are blotted out, but a reply may still state who made its system.
"""

from __future__ import annotations

import getpass
import re
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any

from echat_eval.records import JudgeEvidence
from echat_eval.store.run_folder import RunFolder
from echat_eval.systems import SYSTEMS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from echat_eval.records import Annotation, Response, Sample, Score
    from echat_eval.report.runs import MergedRuns

__all__ = ["Disguise", "disguise_of"]

BLOT = "[withheld]"
#: Addresses, paths, e-mail and hosts, wherever they stand.
_PLACES = (
    r"\b[a-z][a-z0-9+.-]*://[^\s\"'<>]+",
    r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+",
    r"(?<![\w.:/<-])~?(?:/[\w.@+-]+){2,}/?",
    r"~/[\w.@+-]+",
    r"\b[a-z]:\\[^\s\"'<>]+",
    r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b",
    r"\b(?:[a-z0-9-]{2,}\.){2,}[a-z]{2,}\b",
    r"\b[a-z][\w-]*(?:\.[\w-]+)*:\d{4,5}\b",
)
#: Shorter names are ordinary words, or letters.
_SHORTEST = 3
#: Values of settings that identify something look like this: `qwen2.5-omni`, `lab/model`, `ckpt.pt`.
_IDENTIFIER = re.compile(r"(?=.*[\d/\\.@:_-])\S{4,}")
#: Names of accounts and machines that identify none.
_COMMON = {"root", "user", "admin", "ubuntu", "debian", "home", "localhost"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Disguise:
    """Other names for what runs hold.

    Attributes:
        names: system -> its letter; bundled floors and ceilings keep their names.
        pattern: what is blotted out.
        printed: folded name in a text -> what stands there instead.
    """

    names: Mapping[str, str]
    pattern: re.Pattern[str]
    printed: Mapping[str, str]

    def text(self, text: str) -> str:
        """Return a text without names and places."""
        return self.pattern.sub(lambda found: self.printed.get(found[0].casefold(), BLOT), text)

    def value(self, value: Any) -> Any:
        """Return JSON data whose texts have neither names nor places; keys are treated as texts."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(str(key)): self.value(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(inner) for inner in value]
        return value

    def disguised(self, runs: MergedRuns) -> MergedRuns:
        """Return merged runs with samples and speakers by number, and without citations, keys and reasons.

        Keys are hashes of settings, and reasons hold words of servers; both can be traced.
        """
        numbers = _numbers(runs.samples.values())
        known = {old: new for (kind, _, old), new in numbers.items() if kind == "sample"}

        def moved(row: Any) -> Any:
            return numbers["sample", row.task, row.sample_id]

        def bare(row: Response | Annotation | Score) -> Any:
            return replace(row, sample_id=moved(row), key="", reason=None)

        return replace(
            runs,
            tasks={name: replace(facts, citation=None) for name, facts in runs.tasks.items()},
            samples={
                (task, numbers["sample", task, name]): replace(
                    sample,
                    id=numbers["sample", task, name],
                    speaker=_of(numbers, "speaker", task, sample.speaker),
                    contrast_group=_of(numbers, "group", task, sample.contrast_group),
                )
                for (task, name), sample in runs.samples.items()
            },
            responses={(s, row.task, moved(row)): bare(row) for (s, *_), row in runs.responses.items()},
            annotations={
                (s, task, numbers["sample", task, name]): [bare(row) for row in rows]
                for (s, task, name), rows in runs.annotations.items()
            },
            scores={
                (s, task, numbers["sample", task, name]): {
                    metric: replace(bare(row), evidence=_evidence(row, known)) for metric, row in rows.items()
                }
                for (s, task, name), rows in runs.scores.items()
            },
        )


def disguise_of(runs: Sequence[RunFolder]) -> Disguise:
    """Return the names under which the systems of some runs are shown to reviewers."""
    roles = {name: facts.role for run in runs for name, facts in run.manifest().systems.items()}
    names: dict[str, str] = {}
    for role in ("system", "floor", "ceiling"):
        mine = [n for n, r in roles.items() if r == role and not (role != "system" and n in SYSTEMS)]
        names |= {name: f"{role.capitalize()} {_letter(place)}" for place, name in enumerate(mine)}
    secrets = {name: names[name] for name in names if len(name) >= _SHORTEST}
    own = {name for run in runs for name in RunFolder(run.path).manifest().systems}
    secrets |= {n: BLOT for n in own - set(roles) - set(SYSTEMS) if len(n) >= _SHORTEST}
    for word in (*_settings(runs), *map(str, _places(runs))):
        secrets.setdefault(word, BLOT)
    words = sorted(secrets, key=len, reverse=True)
    pattern = "|".join([*_PLACES, *(rf"(?<![a-z0-9_]){re.escape(word)}(?![a-z0-9_])" for word in words)])
    return Disguise(
        names=names,
        pattern=re.compile(pattern, re.IGNORECASE),
        printed={word.casefold(): text for word, text in secrets.items()},
    )


def _letter(place: int) -> str:
    """Return A to Z, then AA, AB and so on.

    >>> _letter(0), _letter(25), _letter(26)
    ('A', 'Z', 'AA')
    """
    tens, ones = divmod(place, len(ascii_uppercase))
    return (_letter(tens - 1) if tens else "") + ascii_uppercase[ones]


def _settings(runs: Sequence[RunFolder]) -> Iterable[str]:
    """Yield the identifiers in the settings of systems, and the last part of those that are paths."""

    def words(value: Any) -> Iterable[str]:
        if isinstance(value, str) and _IDENTIFIER.fullmatch(value):
            yield value
            yield from (part for part in re.split(r"[/\\]", value)[-1:] if _IDENTIFIER.fullmatch(part))
        elif isinstance(value, Mapping):
            for inner in value.values():
                yield from words(inner)
        elif isinstance(value, list | tuple):
            for inner in value:
                yield from words(inner)

    for run in runs:
        for facts in run.manifest().systems.values():
            yield from words(facts.settings)


def _places(runs: Sequence[RunFolder]) -> Iterable[str]:
    """Yield folders of the runs, their hosts, and the account and the machine of this process."""
    for run in runs:
        yield from (str(run.path), str(run.path.resolve()))
        yield from run.manifest().destinations
    found = [socket.gethostname(), Path.home().name]
    with suppress(OSError, KeyError):  # an account without a name
        found.append(getpass.getuser())
    yield from (name for name in found if len(name) >= _SHORTEST and name.casefold() not in _COMMON)


def _numbers(samples: Iterable[Sample]) -> dict[tuple[str, str, str], str]:
    """Return kind, task and name of samples, speakers and groups -> number; a speaker is of no task."""
    found: dict[tuple[str, str, str], str] = {}
    counts: dict[tuple[str, str], int] = {}
    for sample in samples:
        for kind, task, name in (
            ("sample", sample.task, sample.id),
            ("speaker", "", sample.speaker),
            ("group", sample.task, sample.contrast_group),
        ):
            if name is not None and (kind, task, name) not in found:
                counts[kind, task] = counts.get((kind, task), 0) + 1
                found[kind, task, name] = f"{kind[0]}{counts[kind, task]}"
    return found


def _of(numbers: Mapping[tuple[str, str, str], str], kind: str, task: str, name: str | None) -> str | None:
    return None if name is None else numbers[kind, "" if kind == "speaker" else task, name]


def _evidence(row: Score, known: Mapping[str, str]) -> Mapping[str, Any] | JudgeEvidence:
    """Return evidence with the numbers of samples; of verdicts without servers and hashes."""
    if isinstance(row.evidence, JudgeEvidence):
        return replace(row.evidence, servers=(), verdicts=(), prompt_sha256=())

    def plain(value: Any) -> Any:
        if isinstance(value, str):
            return known.get(value, value)
        if isinstance(value, Mapping):
            return {known.get(str(key), str(key)): plain(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [plain(inner) for inner in value]
        return value

    found: Mapping[str, Any] = plain(row.evidence)
    return found
