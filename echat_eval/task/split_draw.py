"""Draws a split: no speaker and no sentence in two parts, labels in equal shares, groups whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from echat_eval.errors import BadData, UsageError
from echat_eval.stats import as_design, connected_clusters, units_of
from echat_eval.task.faults import FaultList
from echat_eval.task.folder import read_contents
from echat_eval.task.split import (
    FACTORS,
    PART_NAME,
    Split,
    linking_keys,
    read_split,
    split_path,
    split_versions,
    write_split,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from echat_eval.records import Sample

    Codes = NDArray[np.int64]

__all__ = ["Drawn", "check_shares", "draw_split", "new_split", "split_lines"]

#: A part may have this share of the samples less, or more, than was asked for.
_OFF = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """Parts of a task.

    Attributes:
        parts: name -> ids, in the order of the task.
        left_out: id -> reason.
    """

    parts: Mapping[str, tuple[str, ...]]
    left_out: Mapping[str, str]


def check_shares(shares: Mapping[str, float]) -> None:
    """Raise UsageError unless there are two parts or more whose shares add up to 1."""
    for name, share in shares.items():
        if PART_NAME.fullmatch(name) is None:
            raise UsageError(f"part '{name[:60]}': expected lower-case letters, digits, '-' and '_'")
        if not 0 < share < 1:
            raise UsageError(f"part '{name}': share {share:g}, expected a number between 0 and 1")
    total = sum(shares.values())
    if len(shares) < 2 or abs(total - 1) > 1e-6:
        raise UsageError(
            f"parts {', '.join(f'{name}={share:g}' for name, share in shares.items()) or 'not given'}: "
            "expected two or more whose shares add up to 1, such as --part dev=0.3 --part test=0.7"
        )


def draw_split(
    samples: Sequence[Sample],
    shares: Mapping[str, float],
    *,
    by: Sequence[str] = FACTORS,
    seed: int = 0,
    leave_out: bool = False,
) -> Drawn:
    """Return parts of these samples with about these shares, and of every label about as much.

    Args:
        samples: of a task.
        shares: name of the part -> share of the samples.
        by: factors of which no level is in two parts. Contrast groups are in one part in any case.
        seed: of the order in which equal choices are made.
        leave_out: draw parts of the speakers and parts of the sentences, and leave out the samples whose
            speaker and sentence are in different parts: for crossed data.

    Raises:
        UsageError: wrong shares or factors, or there is no such split; the message states why.
    """
    check_shares(shares)
    _check_factors(samples, by)
    rng = np.random.default_rng(seed)
    labels = _label_codes(samples)
    groups = linking_keys(samples, "contrast group")
    factors = [linking_keys(samples, factor) for factor in by]
    if leave_out and len(factors) == 2:
        sides = [
            _assigned(connected_clusters(list(zip(keys, *more, strict=True))), labels, shares, rng)
            for keys, more in ((factors[0], []), (factors[1], [groups]))
        ]
        placed = np.where(sides[0] == sides[1], sides[0], -1)
    else:
        units = connected_clusters(list(zip(*factors, groups, strict=True)))
        placed = _assigned(units, labels, shares, rng)
        _require_shares(samples, placed, units, shares, by)
    return _drawn(samples, placed, list(shares))


def _check_factors(samples: Sequence[Sample], by: Sequence[str]) -> None:
    if not by or not set(by) <= set(FACTORS):
        raise UsageError(f"--by {','.join(by)}: expected speaker, sentence or both")
    unknown = sum(sample.speaker is None for sample in samples)
    if "speaker" in by and unknown:
        raise UsageError(
            f"{unknown} of {len(samples)} samples state no speaker, so that one person may be in two parts; "
            "add `speaker` to the rows, or split --by sentence"
        )


def _label_codes(samples: Sequence[Sample]) -> Codes:
    known: dict[object, int] = {}
    return np.array([known.setdefault(tuple(sorted(s.cues.items())), len(known)) for s in samples])


def _assigned(units: Codes, labels: Codes, shares: Mapping[str, float], rng: np.random.Generator) -> Codes:
    """Return the part of every sample: units, the largest first, go where their labels are needed most."""
    counts = np.zeros((int(units.max()) + 1, int(labels.max()) + 1))
    np.add.at(counts, (units, labels), 1.0)
    wanted = np.outer(list(shares.values()), counts.sum(axis=0))
    had = np.zeros_like(wanted)
    order = rng.permutation(len(counts))
    place = np.zeros(len(counts), dtype=np.int64)
    for unit in order[np.argsort(-counts[order].sum(axis=1), kind="stable")]:
        # Relative to what the part wants of a label: a rare label matters as much as a frequent one.
        lack = ((wanted - had - counts[unit]) ** 2 - (wanted - had) ** 2) / np.maximum(wanted, 1.0)
        place[unit] = int(np.argmin(lack.sum(axis=1)))
        had[place[unit]] += counts[unit]
    return place[units]


def _require_shares(
    samples: Sequence[Sample], placed: Codes, units: Codes, shares: Mapping[str, float], by: Sequence[str]
) -> None:
    """Raise UsageError if the parts are far from what was asked for, with the reason."""
    found = np.bincount(placed, minlength=len(shares)) / len(samples)
    if all(abs(own - share) <= _OFF for own, share in zip(found, shares.values(), strict=True)):
        return
    largest = int(np.bincount(units).max())
    design = as_design(list(units_of(samples).values()))
    got = ", ".join(f"{name}={own:.2f}" for name, own in zip(shares, found, strict=True))
    remedy = "take other shares, or add samples"
    if len(by) == 2 and largest > len(samples) * (min(shares.values()) + _OFF):
        halves = 100 * sum(share**2 for share in shares.values())
        remedy = (
            "split by one of them (--by sentence lets speakers be in both parts), or give --leave-out, which "
            f"leaves out the samples that link the parts: about {halves:.0f} % of the samples are kept"
        )
    raise UsageError(
        f"no such split: {design}; {int(units.max()) + 1} sets of samples share no {' and no '.join(by)} "
        f"with each other, and the largest has {largest} of {len(samples)} samples, so that the parts "
        f"would be {got}; {remedy}"
    )


def _drawn(samples: Sequence[Sample], placed: Codes, names: Sequence[str]) -> Drawn:
    left_out = {
        sample.id: "its speaker and its sentence are in different parts"
        for sample, part in zip(samples, placed, strict=True)
        if part < 0
    }
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        if sample.id not in left_out and sample.contrast_group is not None:
            groups.setdefault(sample.contrast_group, []).append(sample)
    for members in groups.values():
        if len({tuple(sorted(member.cues.items())) for member in members}) < 2:
            reason = "no other label of its contrast group is left in the part"
            left_out |= {member.id: reason for member in members}
    parts = {
        name: tuple(
            sample.id
            for sample, part in zip(samples, placed, strict=True)
            if part == number and sample.id not in left_out
        )
        for number, name in enumerate(names)
    }
    if empty := [name for name, ids in parts.items() if not ids]:
        counts = Counter(left_out.values())
        why = "; ".join(f"{count} samples: {reason}" for reason, count in counts.items())
        raise UsageError(f"no such split: part '{empty[0]}' has no sample ({why or 'too few samples'})")
    return Drawn(parts=parts, left_out=left_out)


def new_split(
    folder: Path,
    shares: Mapping[str, float],
    *,
    by: Sequence[str] = FACTORS,
    seed: int = 0,
    leave_out: bool = False,
) -> tuple[Path, Split, tuple[Sample, ...]]:
    """Draw the next version of a task's split and write it; return path, split and the task's samples.

    If the newest version is the same split, that one is returned and none is written.

    Args:
        folder: the task's folder.
        shares, by, seed, leave_out: as in `draw_split`.

    Raises:
        BadData: a fault of the task.
        UsageError: as `draw_split`.
    """
    contents = read_contents(folder, FaultList(keep_going=False), decode=False)
    assert contents is not None  # without keep_going every fault raises
    drawn = draw_split(contents.samples, shares, by=by, seed=seed, leave_out=leave_out)
    split = Split(
        task=contents.settings["name"],
        task_sha256=contents.sha256,
        version=max(split_versions(folder), default=0) + 1,
        by=tuple(factor for factor in FACTORS if factor in by),
        seed=seed,
        parts=drawn.parts,
        left_out=drawn.left_out,
    )
    assert not split.faults(contents.samples, contents.sha256)
    with suppress(BadData):  # no version yet, or a damaged one, which the next one replaces
        newest = read_split(folder)
        if newest == replace(split, version=newest.version):
            return split_path(folder, newest.version), newest, contents.samples
    return write_split(folder, split), split, contents.samples


def split_lines(split: Split, samples: Sequence[Sample]) -> list[str]:
    """Return what is in each part, and what was left out, in words."""
    lines = []
    for name, ids in split.parts.items():
        own = [sample for sample in samples if sample.id in set(ids)]
        design = as_design(list(units_of(own).values()))
        labels = Counter(f"{cue} {label}" for sample in own for cue, label in sample.cues.items())
        listed = ", ".join(f"{label} {count}" for label, count in sorted(labels.items()))
        lines.append(f"{name}: {len(ids)} samples ({design}); {listed}")
    for reason, count in Counter(split.left_out.values()).items():
        lines.append(f"left out: {count} samples: {reason}")
    return lines
