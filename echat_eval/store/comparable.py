"""Which runs may be compared: one set of conditions and one wording for every command."""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations
from typing import TYPE_CHECKING

from echat_eval.errors import BadData
from echat_eval.io.hashing import digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from echat_eval.records import Sample

__all__ = ["not_comparable", "refuse_duplicate_systems", "sample_contents", "version_differences"]


def version_differences(
    runs: Sequence[tuple[str, Mapping[tuple[str, str], str]]], judges: Sequence[Mapping[str, str]] = ()
) -> list[str]:
    """Return one sentence for every task, scorer and annotator whose version differs between two runs.

    Args:
        runs: name of each run, and (kind, name) -> hash of its tasks, scorers and annotators. Parts
            that only one of two runs has are not compared.
        judges: of each run, scorer -> model of the judge that it asks, which names it beside its hash.

    >>> version_differences([("old", {("tasks", "age"): "0123"}), ("new", {("tasks", "age"): "abcd"})])
    ["task 'age' differs (0123 in old, abcd in new)"]
    >>> hashes = {("scorers", "judged"): "0123"}, {("scorers", "judged"): "abcd"}
    >>> version_differences(list(zip("ab", hashes)), [{"judged": "m-1"}, {"judged": "m-2"}])
    ["scorer 'judged' differs (judge m-1, 0123, in a, and judge m-2, abcd, in b)"]
    """
    sentences = {}
    models = dict(zip((name for name, _ in runs), judges, strict=False))
    for (first, ours), (second, theirs) in combinations(runs, 2):
        for kind, name in sorted(set(ours) & set(theirs)):
            a, b = ours[kind, name], theirs[kind, name]
            if a != b and (kind, name, a, b) not in sentences:
                part = kind.removesuffix("s")
                found = [
                    (models.get(run, {}).get(name) if kind == "scorers" else None, value[:8], run)
                    for run, value in ((first, a), (second, b))
                ]
                sentences[kind, name, a, b] = f"{part} '{name}' differs ({_versions(found)})"
    return list(sentences.values())


def _versions(found: Sequence[tuple[str | None, str, str]]) -> str:
    """Return the model, if known, hash and run of both versions of a part."""
    if not any(model for model, _, _ in found):
        return ", ".join(f"{value} in {run}" for _, value, run in found)
    return ", and ".join(f"judge {model or 'unknown'}, {value}, in {run}" for model, value, run in found)


def not_comparable(differences: Sequence[str]) -> str:
    """Return the sentence that refuses to compare runs, without its full stop."""
    return f"not comparable: {'; '.join(differences)}. Run one of them again"


def refuse_duplicate_systems(runs: Iterable[tuple[str, Iterable[str]]]) -> None:
    """Raise if two runs have a system of the same name.

    Args:
        runs: spec of each run, such as its path, and the names of its systems.

    Raises:
        BadData: they have; the message has the spec that renames one.
    """
    found: dict[str, str] = {}
    for spec, systems in runs:
        for system in systems:
            if system in found:
                raise BadData(
                    f"two runs have a system '{system}': {found[system]} and {spec}; rename one of them: "
                    f"NEW={spec}:{system}"
                )
            found[system] = spec


def sample_contents(
    samples: Iterable[Sample], cues: Mapping[str, object] | None = None
) -> dict[tuple[str, str], str]:
    """Return (task, sample id) -> hash of the sample's content.

    The content is audio, words, labels, references and earlier turns, and the cues that the task defines. In
    a contrast group it is that of the whole group, because replies are scored against each other.

    Args:
        samples: all samples of the run.
        cues: task -> the cues that it defines.
    """
    groups: dict[tuple[str, str], list[Sample]] = defaultdict(list)
    for sample in samples:
        alone = sample.contrast_group is None
        groups[sample.task, f"s {sample.id}" if alone else f"g {sample.contrast_group}"].append(sample)
    found = {}
    for (task, _), members in groups.items():
        members = sorted(members, key=lambda sample: sample.id)
        content = digest("content", [(cues or {}).get(task), members])
        found.update({(task, sample.id): content for sample in members})
    return found
