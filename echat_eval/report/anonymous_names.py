"""The letters of systems and judges for a blind review, and the words to search texts for."""

from __future__ import annotations

import getpass
import re
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any

from echat_eval.cost.prices import read_prices
from echat_eval.errors import UsageError
from echat_eval.io import jsonl
from echat_eval.io.hashing import sha256_of
from echat_eval.judge.known_models import known_models
from echat_eval.labels.declared import cues_of
from echat_eval.records import JudgeEvidence
from echat_eval.report.anonymous import Disguise
from echat_eval.report.name_search import BLOT, ORDINARY, SHORTEST, NameSearch, long_enough, words_of
from echat_eval.store.run_folder import RunFolder
from echat_eval.store.turns import reply_audios
from echat_eval.systems import SYSTEMS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from echat_eval.records import SystemRole
    from echat_eval.store.manifest import SystemFacts

__all__ = ["disguise_of"]

_ROLES: tuple[SystemRole, ...] = ("system", "floor", "ceiling")
#: Values of settings that identify something look like this: `qwen2.5-omni`, `lab/model`, `ckpt.pt`.
_IDENTIFIER = re.compile(r"(?=.*[\d/\\.@:_-])\S{4,}")
#: Settings whose values identify a system whatever they look like.
_IDENTIFYING = re.compile(
    r"(^|_)(model|checkpoint|weights|tokenizer|repo|repository|organization|adapter|lora)$"
)
_OWNER_AND_MODEL = re.compile(r"([\w.-]+)/([\w.-]+)")
#: Shorter parts of names are ordinary words.
_SHORTEST_PART = 4
#: Names of accounts and machines that identify none.
_COMMON = {"root", "user", "admin", "ubuntu", "debian", "home", "localhost"}
#: A day at the end of a model as served.
_DAY = re.compile(r"-\d{4}-?\d\d-?\d\d$")


def disguise_of(runs: Sequence[RunFolder]) -> Disguise:
    """Return the names under which the systems of some runs are shown to reviewers.

    Raises:
        UsageError: a system has a name that texts cannot be searched for.
    """
    facts = {name: facts for run in runs for name, facts in run.manifest().systems.items()}
    own = {name for run in runs for name in RunFolder(run.path).manifest().systems} - set(SYSTEMS)
    words = _Words(runs)
    names = _letters(facts, _by_replies(runs))
    _require_names((name for name in names if name in own), words)
    judges, metrics = _judges(runs)
    secrets = {name: text for name, text in (names | judges).items() if not words.problem(name)}
    secrets |= {name: BLOT for name in own - set(names) if not words.problem(name)}
    for word in (*_settings(facts.values()), *_places(runs)):
        if long_enough(word) and not words.are_ordinary(word):
            secrets.setdefault(word, BLOT)
    for part in [part for name in (*secrets, *own) for part in words_of(name)]:
        if len(part) >= _SHORTEST_PART and part.isascii() and part.isalpha() and not words.problem(part):
            secrets.setdefault(part, BLOT)
    unsearched = sorted(name for name in (own - set(names)) | set(judges) if words.problem(name))
    return Disguise(
        names=names,
        order=(*names.values(), *sorted(name for name in facts if name not in names)),
        judges=judges,
        metrics=metrics,
        search=NameSearch(secrets),
        notes=tuple(
            f"texts are not searched for the name '{name}': {words.problem(name)}" for name in unsearched
        ),
    )


class _Words:
    """The words of some runs that are no names: those of every language, of labels and of samples."""

    def __init__(self, runs: Sequence[RunFolder]) -> None:
        samples = [sample for run in runs for sample in run.samples()]
        cues = cues_of(samples).values()
        manifests = [run.manifest() for run in runs]
        found = [cue.name for cue in cues] + [label for cue in cues for label in (*cue.labels, *cue.aliases)]
        found += [name for m in manifests for name in (*m.tasks, *m.annotators)]
        found += [metric.name for m in manifests for metric in m.metrics]
        self._words = ORDINARY | {"".join(words_of(word)) for word in found}
        self._said = "\n".join(dict.fromkeys(t for s in samples for t in (s.transcript, *s.references)))

    def are_ordinary(self, name: str) -> bool:
        """Return whether a name is a word of every language, or of the labels, tasks and metrics."""
        return "".join(words_of(name)) in self._words

    def problem(self, name: str) -> str | None:
        """Return why texts cannot be searched for a name; None if they can."""
        if not long_enough(name):
            return f"it has fewer than {SHORTEST} letters"
        if self.are_ordinary(name):
            return "it is an ordinary word"
        return (
            "it stands in the words of the samples" if NameSearch({name: ""}).has_name(self._said) else None
        )


def _require_names(names: Iterable[str], words: _Words) -> None:
    for name in names:
        if (problem := words.problem(name)) is not None:
            raise UsageError(
                f"--anonymous: replies cannot be searched for the system's name '{name}': {problem}; "
                f"read them, and show the system under a name of your choice: NAME=RUN:{name}"
            )


def _by_replies(runs: Sequence[RunFolder]) -> list[str]:
    """Return systems in an order that depends on their replies alone, not on their names."""
    found: dict[str, list[Any]] = {}
    for run in runs:
        found |= {name: [] for name in run.manifest().systems}
        for (system, task, name), row in sorted(run.responses().items()):
            words = None if row.reply is None else row.reply.text
            found[system].append(
                [task, name, row.state, words, [audio.sha256 for audio in reply_audios(row)]]
            )
    return sorted(found, key=lambda name: sha256_of(jsonl.dumps(found[name]).encode()))


def _letters(facts: Mapping[str, SystemFacts], order: Sequence[str]) -> dict[str, str]:
    """Return system -> its letter; bundled floors and ceilings have none."""
    names: dict[str, str] = {}
    for role in _ROLES:
        mine = [name for name in order if facts[name].role == role]
        mine = [name for name in mine if role == "system" or name not in SYSTEMS]
        names |= {name: f"{role.capitalize()} {_letter(place)}" for place, name in enumerate(mine)}
    return names


def _letter(place: int) -> str:
    """Return A to Z, then AA, AB and so on.

    >>> _letter(0), _letter(25), _letter(26)
    ('A', 'Z', 'AA')
    """
    tens, ones = divmod(place, len(ascii_uppercase))
    return (_letter(tens - 1) if tens else "") + ascii_uppercase[ones]


def _judges(runs: Sequence[RunFolder]) -> tuple[dict[str, str], dict[str, str]]:
    """Return model or name -> letter, metric -> name with it, of judges that only their users know."""
    public = {entry.model for entry in known_models().values()}
    public |= {key.partition(" @ ")[0] for key in read_prices().prices}
    letters: dict[str, str] = {}
    metrics: dict[str, str] = {}
    for run in runs:
        served = _served(run)
        for scorer, facts in run.manifest().scorers.items():
            kind, _, name = scorer.partition(":")
            requested, own = facts.settings.get("model"), facts.metrics or ()
            if not kind.startswith("judge") or not isinstance(requested, str):
                continue
            models = [requested, *(model for metric in own for model in served.get(metric, ()))]
            private = [model for model in models if not {model, _DAY.sub("", model)} & public]
            if not private:
                continue
            given = name if name and requested in private else requested
            letter = letters.setdefault(given, f"Judge {_letter(len(set(letters.values())))}")
            letters = {**dict.fromkeys(private, letter), **letters}
            start, short = f"judge_{given}", letter.replace(" ", "_").lower()
            metrics |= {m: f"{short}{m.removeprefix(start)}" for m in own if m.startswith(start)}
    return letters, metrics


def _served(run: RunFolder) -> dict[str, list[str]]:
    """Return metric -> models that gave its verdicts."""
    found: dict[str, dict[str, None]] = {}
    for row in run.scores().values():
        if isinstance(row.evidence, JudgeEvidence):
            found.setdefault(row.metric, {}).update(dict.fromkeys(row.evidence.models))
    return {metric: list(models) for metric, models in found.items()}


def _settings(systems: Iterable[SystemFacts]) -> Iterable[str]:
    """Yield the identifiers in the settings of systems; of a path its last part, of a model its owner too."""

    def words(key: str, value: Any) -> Iterable[str]:
        if isinstance(value, str):
            if not (_IDENTIFIER.fullmatch(value) or (_IDENTIFYING.search(key) and value.strip())):
                return
            yield value
            last = re.split(r"[/\\]", value.rstrip("/\\"))[-1]
            yield from (part for part in (last, Path(last).stem) if _IDENTIFIER.fullmatch(part))
            if (halves := _OWNER_AND_MODEL.fullmatch(value)) is not None:
                yield from halves.groups()
        elif isinstance(value, Mapping):
            for name, inner in value.items():
                yield from words(str(name), inner)
        elif isinstance(value, list | tuple):
            for inner in value:
                yield from words(key, inner)

    for facts in systems:
        yield from words("", facts.settings)


def _places(runs: Sequence[RunFolder]) -> Iterable[str]:
    """Yield folders of the runs, their hosts, and the account and the machine of this process."""
    for run in runs:
        yield from (str(run.path), str(run.path.resolve()))
        yield from run.manifest().destinations
    found = [socket.gethostname(), Path.home().name]
    with suppress(OSError, KeyError):  # an account without a name
        found.append(getpass.getuser())
    yield from (name for name in found if name.casefold() not in _COMMON)
