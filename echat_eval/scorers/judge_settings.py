"""The settings of a run's judge, and the scorers made from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from echat_eval.clients.chat import is_dated
from echat_eval.errors import UsageError
from echat_eval.judge import JudgeParameters
from echat_eval.plugins import construct
from echat_eval.scorers.judged import judged_scorers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from echat_eval.judge import JudgeClient
    from echat_eval.scorers.judged import Judged, JudgedContrast
    from echat_eval.store.cache import Cache

__all__ = ["DATED", "JudgeSettings", "identify", "parse_judge", "scorers_of_judge"]

#: As a model: the dated model that the rubric names.
DATED = "dated"


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeSettings:
    """Settings of a judge.

    Attributes:
        model: name of the model; "dated": the dated model that the rubric names.
        url: base URL of an OpenAI-compatible server, ending in /v1; None: OpenAI.
        rubric: name of a folder in judges/.
        repeats: verdicts per question, 1 to 20.
        prose: read the verdict from prose, for a server without JSON schema support.
        calls: maximum concurrent calls, 1 to 256.
        timeout: seconds per call, at least 1.
        settings: parameters of the requests, as `judge.JudgeParameters`; None leaves one out.
    """

    model: str = DATED
    url: str | None = None
    rubric: str = "echat-r1"
    repeats: int = 1
    prose: bool = False
    calls: int = 4
    timeout: float = 60.0
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value, limit in (("repeats", self.repeats, 20), ("calls", self.calls, 256)):
            if not 1 <= value <= limit:
                raise UsageError(f"judge '{self.model}': {name}={value}: expected 1 to {limit}")
        if not self.timeout >= 1:
            raise UsageError(f"judge '{self.model}': timeout={self.timeout}: expected 1 second or more")
        self.parameters()

    def parameters(self) -> JudgeParameters:
        """Return the parameters of the requests.

        Raises:
            UnknownName: no parameter has this name.
            UsageError: a value of the wrong type.
        """
        if not isinstance(self.settings, Mapping):
            raise UsageError(f"judge '{self.model}': settings={self.settings!r}: expected a mapping")
        made: JudgeParameters = construct("judge", self.model, JudgeParameters, self.settings)
        return made


def parse_judge(given: Any) -> JudgeSettings | None:
    """Return the settings of the judge that a caller describes; None for None.

    Args:
        given: name of a model; a mapping of settings; or `{name: either}`.

    Raises:
        UnknownName: no setting has this name.
        UsageError: a value of the wrong type, or several judges.

    >>> parse_judge({"text": {"model": "m-2026-01-01", "repeats": 3}}).repeats
    3
    """
    if given is None or isinstance(given, JudgeSettings):
        return given
    if isinstance(given, str):
        return JudgeSettings(model=given)
    known = {setting.name for setting in fields(JudgeSettings)}
    if isinstance(given, Mapping) and known & set(given):
        settings: JudgeSettings = construct("judge", str(given.get("model", DATED)), JudgeSettings, given)
        return settings
    judges = list(given.values()) if isinstance(given, Mapping) else given
    if not isinstance(judges, list | tuple) or not all(_is_judge(judge) for judge in judges):
        raise UsageError(
            f"judge {given!r}: expected the name of a model, or a mapping of {', '.join(sorted(known))}"
        )
    if len(judges) > 1:
        names = list(given) if isinstance(given, Mapping) else [repr(judge) for judge in judges]
        raise UsageError(
            f"got {len(judges)} judges ({', '.join(map(str, names))}); a run has one: name one of them, and "
            "give the other a run folder of its own"
        )
    return parse_judge(judges[0]) if judges else None


def _is_judge(given: Any) -> bool:
    return isinstance(given, str | Mapping | JudgeSettings)


def scorers_of_judge(
    settings: JudgeSettings,
    *,
    note: Callable[[str], None],
    store: Path | None = None,
    tries: int | None = None,
    cache: Cache | None = None,
) -> tuple[Judged, JudgedContrast]:
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
    if settings.url is None and model is not None and not is_dated(model):
        note(f"'{model}' is not a dated model name; the model behind it may change")
    return judged_scorers(
        model,
        settings.url,
        settings.rubric,
        repeats=settings.repeats,
        schema=not settings.prose,
        parameters=settings.parameters(),
        calls_at_once=settings.calls,
        timeout=settings.timeout,
        store=store,
        tries=tries,
        cache=cache,
    )


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
