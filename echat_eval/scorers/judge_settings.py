"""The settings of a run's judge, and the scorers made from them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from echat_eval.clients.chat import is_dated
from echat_eval.errors import UsageError
from echat_eval.judge import DEFAULT_RUBRIC, LISTENING_RUBRIC, JudgeParameters, judge_names, load_judge
from echat_eval.judge.known_models import known_model, known_models
from echat_eval.plugins import construct
from echat_eval.scorers.judged import Judged, JudgedContrast, open_client
from echat_eval.scorers.judged_match import JudgedMatch
from echat_eval.scorers.judged_voice import JudgedVoice, require_listening

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from echat_eval.judge import JudgeClient
    from echat_eval.records import Sample
    from echat_eval.store.cache import Cache

__all__ = ["DATED", "JudgeSettings", "identify", "parse_judges", "scorers_of_judge"]

#: The scorers that a judge's settings make.
ScorerOfJudge: TypeAlias = Judged | JudgedContrast | JudgedMatch | JudgedVoice

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
#: Answers per match question: a pair has one of three answers, so a single one is mostly noise.
MATCH_REPEATS = 3
#: As a model: the dated model that the rubric names.
DATED = "dated"


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeSettings:
    """Settings of a judge.

    Attributes:
        name: of the judge, which also names its columns; None: they have the name of the rubric.
        model: name of the model; "dated": the dated model that the rubric names; or a name in
            baselines/judges.yaml, whose model, address and parameters it stands for.
        url: base URL of an OpenAI-compatible server, ending in /v1; None: OpenAI.
        rubric: name of a folder in judges/; None: that of a judge that reads, or of one that listens.
        listens: the judge gets the recordings of replies, and grades their voices alone.
        query_audio: a judge that listens gets the recording of the query, too.
        repeats: verdicts per question, 1 to 20.
        match: also ask which of two voices each reply answers: four further questions per pair of replies and
            repeat.
        match_repeats: answers per match question, 1 to 20; None: three, or `repeats` if that is more.
        prose: read the verdict from prose, for a server without JSON schema support.
        calls: maximum concurrent calls, 1 to 256.
        timeout: seconds per call, at least 1.
        settings: parameters of the requests, as `judge.JudgeParameters`; None leaves one out.
    """

    name: str | None = None
    model: str = DATED
    url: str | None = None
    rubric: str | None = None
    listens: bool = False
    query_audio: bool = False
    repeats: int = 1
    match: bool = False
    match_repeats: int | None = None
    prose: bool = False
    calls: int = 4
    timeout: float = 60.0
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.query_audio and not self.listens:
            raise UsageError(f"judge '{self.model}': query_audio is for a judge that listens: listens=true")
        if self.name is not None and not _NAME.fullmatch(self.name):
            raise UsageError(f"judge {self.name!r}: expected a name of 1 to 40 letters, digits, '-' and '_'")
        limits = (
            ("repeats", self.repeats, 20),
            ("match_repeats", self.repeats_of_match, 20),
            ("calls", self.calls, 256),
        )
        for name, value, limit in limits:
            if not 1 <= value <= limit:
                raise UsageError(f"judge '{self.model}': {name}={value}: expected 1 to {limit}")
        if not self.timeout >= 1:
            raise UsageError(f"judge '{self.model}': timeout={self.timeout}: expected 1 second or more")
        self.parameters()

    @property
    def rubric_name(self) -> str:
        """Return the rubric that is used."""
        return self.rubric or (LISTENING_RUBRIC if self.listens else DEFAULT_RUBRIC)

    @property
    def repeats_of_match(self) -> int:
        """Return the number of answers per match question."""
        return max(self.repeats, MATCH_REPEATS) if self.match_repeats is None else self.match_repeats

    @property
    def stem(self) -> str:
        """Return the beginning of the names of its metrics."""
        return f"judge_{self.name or self.rubric_name}".replace("-", "_")

    def with_setting(self, key: str, value: object) -> JudgeSettings:
        """Return the settings with one changed: one of these, or a parameter of the requests.

        Raises:
            UnknownName, UsageError: as for a judge with this setting.
        """
        own = {setting.name: getattr(self, setting.name) for setting in fields(self)}
        name, new = (key, value) if key in own else ("settings", {**self.settings, key: value})
        judge: JudgeSettings = construct("judge", self.name or self.model, JudgeSettings, {**own, name: new})
        return judge

    def parameters(self) -> JudgeParameters:
        """Return the parameters of the requests.

        Raises:
            UnknownName: no parameter has this name.
            UsageError: a value of the wrong type.
        """
        if not isinstance(self.settings, Mapping):
            raise UsageError(f"judge '{self.model}': settings={self.settings!r}: expected a mapping")
        made: JudgeParameters = construct("judge", self.name or self.model, JudgeParameters, self.settings)
        return made


def parse_judges(given: Any) -> list[JudgeSettings]:
    """Return the settings of the judges that a caller describes; an empty list for None.

    Args:
        given: `MODEL` or `NAME=MODEL`; a mapping of settings, and of parameters of the requests; a list of
            these; or a mapping of names to these.

    Raises:
        UnknownName: no setting has this name.
        UsageError: a value of the wrong type, or two judges with the same column.

    >>> judges = parse_judges({"text": "m-1", "strict": {"model": "m-2"}})
    >>> [(judge.name, judge.model, judge.stem) for judge in judges]
    [('text', 'm-1', 'judge_text'), ('strict', 'm-2', 'judge_strict')]
    >>> parse_judges("m-1")[0].stem
    'judge_echat_r1'
    """
    known = {setting.name for setting in fields(JudgeSettings)}
    if given is None:
        return []
    if isinstance(given, Mapping) and not known & set(given):
        judges = [_judge(judge, str(name)) for name, judge in given.items()]
    else:
        judges = [_judge(judge) for judge in (given if isinstance(given, list | tuple) else [given])]
    owners: dict[str, JudgeSettings] = {}
    for judge in judges:
        if judge.stem in owners:
            models = f"'{owners[judge.stem].model}' and '{judge.model}'"
            raise UsageError(
                f"two judges, {models}, would fill the column {judge.stem}; give them different names "
                "(--judge NAME=MODEL)"
            )
        owners[judge.stem] = judge
    return judges


def _judge(given: Any, name: str | None = None) -> JudgeSettings:
    """Return the settings of one judge, under a name if it has one."""
    if isinstance(given, str):
        named, equals, model = given.partition("=")
        given = {"name": named, "model": model} if equals else {"model": given}
    if isinstance(given, JudgeSettings):
        return given if name is None else replace(given, name=name)
    if not isinstance(given, Mapping) or (not given and name is None):
        known = ", ".join(setting.name for setting in fields(JudgeSettings))
        raise UsageError(f"judge {given!r}: expected the name of a model, or a mapping of {known}")
    settings = dict(given) if name is None else {**given, "name": name}
    if (shipped := known_models().get(settings.get("model", ""))) is not None:
        settings = {**settings, "model": shipped.model, "url": settings.get("url") or shipped.url}
    parameters = {parameter.name for parameter in fields(JudgeParameters)} & settings.keys()
    if parameters and isinstance(own := settings.get("settings") or {}, Mapping):
        settings["settings"] = {**own, **{key: settings.pop(key) for key in parameters}}
    label = str(settings.get("name") or settings.get("model", DATED))
    judge: JudgeSettings = construct("judge", label, JudgeSettings, settings)
    return judge


def scorers_of_judge(
    settings: JudgeSettings,
    *,
    note: Callable[[str], None],
    store: Path | None = None,
    tries: int | None = None,
    cache: Cache | None = None,
) -> tuple[ScorerOfJudge, ...]:
    """Return the scorers of a judge; they share its connection and its verdicts.

    Args:
        settings: of the judge.
        note: called if the model behind the name may change.
        store: file of verdicts; they outlive the process.
        tries: maximum calls per question; None: no limit.
        cache: verdicts shared between runs; None: no cache.

    Raises:
        UnknownName: no rubric has this name.
        UsageError: not a URL.
    """
    model = None if settings.model == DATED else settings.model
    known = known_model(model or load_judge(settings.rubric_name).model, settings.url)
    if known is not None:
        settings = replace(settings, settings={**known.settings, **settings.settings})
    if settings.url is None and model is not None and not is_dated(model):
        note(f"'{model}' is not a dated model name; the model behind it may change")
    judge = load_judge(settings.rubric_name)
    require_listening(judge.name, rubric_listens=judge.listens, listens=settings.listens)
    judge_client = open_client(
        judge,
        model,
        settings.url,
        schema=not settings.prose,
        parameters=settings.parameters(),
        calls_at_once=settings.calls,
        timeout=settings.timeout,
        store=store,
        tries=tries,
        cache=cache,
    )
    repeats, calls, name = settings.repeats, settings.calls, settings.name
    scorers: list[ScorerOfJudge]
    if settings.listens:
        query = settings.query_audio
        scorers = [
            JudgedVoice(
                judge_client, repeats=repeats, calls_at_once=calls, judge_name=name, query_audio=query
            )
        ]
    else:
        scorers = [
            kind(judge_client, repeats=repeats, calls_at_once=calls, judge_name=name)
            for kind in (Judged, JudgedContrast)
        ]
    if settings.match:
        answers = settings.repeats_of_match
        scorers.append(JudgedMatch(judge_client, repeats=answers, calls_at_once=calls, judge_name=name))
    return tuple(scorers)


def unshown_history(judges: Iterable[JudgeClient], samples: Iterable[Sample]) -> list[str]:
    """Return one line for each rubric that does not show the earlier turns of the samples to the judge."""
    count = sum(bool(sample.history or sample.turns) and sample.asks is None for sample in samples)
    names = dict.fromkeys(judge.judge.name for judge in judges if not judge.judge.shows_history)
    whose = "1 sample's" if count == 1 else f"{count} samples'"
    shows = " and ".join(name for name in judge_names() if load_judge(name).shows_history)
    return [
        f"{name} does not show the {whose} earlier turns to the judge; {shows} does "
        f"(--set judge.rubric={shows})"
        for name in names
        if count
    ]


def identify(judge_client: JudgeClient, note: Callable[[str], None]) -> None:
    """Ask the judge's server which model it serves.

    A refused key or an unknown model then stops a run before any system is called.

    Raises:
        UsageError: the server refuses the key, or does not have the model.
    """
    judge_client.server_identity()
    if judge_client.identity_error is not None:
        note(
            f"the judge's server does not answer now ({judge_client.identity_error}); stored verdicts are "
            "used, others will be missing unless the server is back by then"
        )
