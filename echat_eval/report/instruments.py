"""Judges and models of runs, as captions, provenance and the methods paragraph name them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from echat_eval.store.manifest import RunManifest, ScorerFacts

__all__ = ["JudgeFacts", "judge_of", "judges_of", "models_line", "models_of", "other_settings"]

#: Settings that name a model or its weights, in the order of a text.
_MODELS = ("model", "checkpoint", "asr", "llm_model", "tts", "program")
#: Characters of a setting that a paragraph holds.
_SHORT = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeFacts:
    """A judge of a run.

    Attributes:
        model: as asked for; `served` is as its server reports it, if it does.
        rubric: name of the folder in judges/.
        repeats: verdicts per question.
        temperature: of the requests; None: not sent.
        metrics: names of its metrics.
    """

    model: str
    served: str | None
    rubric: str
    repeats: int
    temperature: object
    metrics: tuple[str, ...]

    def __str__(self) -> str:
        """Return model, rubric and repeats."""
        served = f" (served as {self.served})" if self.served and self.served != self.model else ""
        repeats = f", {self.repeats} verdicts per question" if self.repeats > 1 else ""
        return f"{self.model}{served}, rubric {self.rubric}{repeats}"


def judges_of(manifests: Sequence[RunManifest]) -> list[JudgeFacts]:
    """Return the judges of some runs, each once with all its metrics."""
    found: dict[JudgeFacts, tuple[str, ...]] = {}
    for facts in (facts for manifest in manifests for facts in manifest.scorers.values()):
        if (judge := _judge(facts)) is not None:
            found[judge] = (*found.get(judge, ()), *(facts.metrics or ()))
    return [replace(judge, metrics=tuple(dict.fromkeys(metrics))) for judge, metrics in found.items()]


def _judge(facts: ScorerFacts) -> JudgeFacts | None:
    """Return the judge that a scorer asks, without its metrics; None for other scorers."""
    settings = facts.settings
    model, rubric, repeats = settings.get("model"), settings.get("rubric"), settings.get("repeats")
    if not isinstance(model, str) or not isinstance(rubric, str):
        return None
    served = settings.get("served")
    name = served.get("model") if isinstance(served, Mapping) else None
    return JudgeFacts(
        model=model,
        served=str(name) if name else None,
        rubric=rubric,
        repeats=repeats if isinstance(repeats, int) else 1,
        temperature=settings.get("temperature"),
        metrics=(),
    )


def judge_of(metric: str, manifests: Sequence[RunManifest]) -> JudgeFacts | None:
    """Return the judge of a metric; None if no judge gives it."""
    return next((judge for judge in judges_of(manifests) if metric in judge.metrics), None)


def models_of(settings: Mapping[str, object]) -> tuple[str, ...]:
    """Return the models that the settings of a system or an annotator name.

    >>> models_of({"llm_model": "m-1", "asr": "whisper", "timeout": 60})
    ('asr whisper', 'llm m-1')
    """
    found = {name: settings.get(name) for name in _MODELS}
    return tuple(
        str(value) if name == "model" else f"{name.removesuffix('_model')} {value}"
        for name, value in found.items()
        if isinstance(value, str) and value
    )


def other_settings(settings: Mapping[str, object]) -> list[tuple[str, object]]:
    """Return the short settings of a system that name no model and no address.

    >>> other_settings({"model": "m-1", "url": "http://a", "think": False, "prompt": None, "seed": 0})
    [('think', False), ('seed', 0)]
    """
    return [
        (key, value)
        for key, value in settings.items()
        if key not in _MODELS
        and not key.endswith("url")
        and isinstance(value, bool | int | float | str)
        and len(str(value)) <= _SHORT
    ]


def models_line(manifests: Sequence[RunManifest]) -> str:
    """Return the models of all systems in one line; "" if no system names one."""
    named = {
        name: ", ".join(models)
        for manifest in manifests
        for name, facts in manifest.systems.items()
        if (models := models_of(facts.settings))
    }
    return f"Models: {'; '.join(f'{name}: {models}' for name, models in named.items())}." if named else ""
