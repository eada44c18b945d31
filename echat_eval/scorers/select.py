"""Selection of the scorers of a run: objects, names and settings become scorers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from echat_eval.errors import NotInstalled, UsageError
from echat_eval.plugins import (
    DEFAULTS,
    PartSpec,
    build_part,
    load_file,
    parse_parts,
    renamed,
    require_different_names,
    require_members,
)
from echat_eval.ports import Scorer, family_of
from echat_eval.records import Metric
from echat_eval.scorers import SCORERS
from echat_eval.scorers.function_metric import refuse_plain_function

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from echat_eval.records import Sample

__all__ = ["DEFAULT_SCORERS", "select_scorers"]

#: Scorers of dialogue tasks; one whose package is not installed is left out.
DEFAULT_SCORERS = ("cue-contrast", "transcription", "outcome", "readability")


def select_scorers(given: Any, samples: Iterable[Sample], note: Callable[[str], None]) -> list[Scorer]:
    """Return the scorers that a caller describes.

    Args:
        given: an object with the `Scorer` protocol; a name or `my.py:Class`; a mapping
            `{"use": name, setting: value}`; a list of these; or a mapping of names to these. `"defaults"` in
            a list, or None, stands for the default scorers of the samples' families (dialogue,
            understanding).
        samples: samples of the run.
        note: called with the reason why a default scorer is left out.

    Raises:
        UnknownName: no scorer or setting has this name.
        UsageError: an object that is no scorer, or two scorers or metrics with the same name.
        NotInstalled: a scorer that is not left out needs a package.
    """
    specs = parse_parts("scorer", DEFAULTS if given is None else given)
    made = [_scorer(spec) for spec in specs if spec.part != DEFAULTS]
    if any(spec.part == DEFAULTS for spec in specs):
        named = {scorer.name for scorer in made}
        made = [*_defaults(samples, named, note), *made]
    require_different_names("scorer", made)
    owners: dict[str, str] = {}
    for scorer in made:
        for metric in scorer.metrics:
            if (owner := owners.setdefault(metric.name, scorer.name)) != scorer.name:
                raise UsageError(
                    f"metric '{metric.name}' belongs to two scorers, '{owner}' and '{scorer.name}'; "
                    "rename one of the metrics"
                )
    return made


def _defaults(samples: Iterable[Sample], named: set[str], note: Callable[[str], None]) -> list[Scorer]:
    """Return the installed default scorers for these samples, except those in `named`."""
    found = list(samples)
    families = {family_of(sample) for sample in found}
    names = [name for name in DEFAULT_SCORERS if families != {"understanding"} or name == "outcome"]
    if any(sample.expect == "same" for sample in found):
        names.append("over-reaction")
    made = []
    for name in ["understanding", *names] if "understanding" in families else names:
        if name not in named:
            try:
                made.append(_scorer(PartSpec(name=None, part=name)))
            except NotInstalled as error:
                note(f"scorer '{name}' is left out: {error}")
    return made


def _scorer(spec: PartSpec) -> Scorer:
    part = spec.part
    if isinstance(part, str):
        refuse_plain_function(load_file("scorer", part), spec.settings)
        part = build_part("scorer", part, SCORERS, spec.settings)
    refuse_plain_function(part, {})
    part = part if spec.name is None else renamed("scorer", part, spec.name)
    require_members("scorer", part, Scorer)
    if not part.metrics or not all(isinstance(metric, Metric) for metric in part.metrics):
        raise UsageError(f"scorer '{part.name}': metrics is {part.metrics!r}; expected a tuple of Metric")
    part.fingerprint()  # raises NotInstalled before anything is sent
    scorer: Scorer = part
    return scorer
