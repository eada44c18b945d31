"""Writes what was made: the task folder with data card and licence, and training rows in the EChat form."""

from __future__ import annotations

import io
import json
import wave
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from echat_eval.errors import RunError
from echat_eval.io.display import counted
from echat_eval.io.files import write_atomically
from echat_eval.io.hashing import sha256_of
from echat_eval.io.jsonl import rows_text
from echat_eval.io.unfinished import NewFolder
from echat_eval.testset.vocoder import RATE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from echat_eval.testset.groups import Group
    from echat_eval.testset.plan import Plan
    from echat_eval.testset.sentences import Dropped

    Pcm = NDArray[np.int16]

__all__ = ["ECHAT_ROWS", "write_groups", "write_training_rows"]

#: Name of the file of training rows.
ECHAT_ROWS = "echat.jsonl"
#: Letters of ids: no vowels, so that no id spells a word.
_LETTERS = "bcdfghjkmnpqrstvwxz23456789"
#: Draws of an order until neither it nor the ids tell a label.
_DRAWS = 2000
#: Largest distance of a label's area under the ROC curve from one half.
_BIAS = 0.12


def write_groups(
    plan: Plan, groups: Sequence[Group], dropped: Sequence[Dropped], folder: Path, *, licences: Sequence[str]
) -> list[dict[str, Any]]:
    """Write a task folder; return its rows.

    Args:
        folder: new or empty.
        licences: of voices and events, for LICENCE and the data card.

    Raises:
        RunError: there are no groups.
        UsageError: the folder is not empty.
    """
    if not groups:
        reasons = ", ".join(f"{reason} {count}" for reason, count in _counted(dropped))
        raise RunError(f"{plan.name}: every group was dropped: {reasons}; dropped.jsonl has the details")
    random = np.random.default_rng([plan.seed, *plan.name.encode()])
    rows, clips = _rows(groups, _names(4 * sum(len(group.clips) for group in groups), random), random)
    with NewFolder(folder, "echat_eval.testset") as written:
        for row, clip in zip(rows, clips, strict=True):
            content = _wav(clip)
            row["audio_sha256"] = sha256_of(content)
            written.write(row["audio"], content)
        written.write("samples.jsonl", rows_text(rows))
        written.write("task.yaml", _task_yaml(plan))
        written.write("LICENCE", _licence(plan, licences))
        written.write("DATA-CARD.md", _data_card(plan, groups, dropped, licences))
    return rows


def write_training_rows(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write rows in the raw form of EChat-200K, which `import echat` reads back; audio stays in the task."""
    write_atomically(path, rows_text(_training_row(row) for row in rows))


def _training_row(row: Mapping[str, Any]) -> dict[str, Any]:
    extra = {
        "dataset": "testset",
        "source": row["source"],
        "lang": row["language"],
        "speaker": row["speaker"],
        "question": row["transcript"],
        **({} if row.get("expect") is None else {"expect": row["expect"]}),
        **{cue: f"<{label.upper()}>" for cue, label in row["cues"].items()},
    }
    return {
        "key": row["id"],
        "wav": row["audio"],
        "txt": row["references"][0],
        "task": "<S2TCHAT> <TEXT2TOKEN>",
        "extra": extra,
    }


def _names(count: int, random: np.random.Generator) -> list[str]:
    """Return distinct random names of six characters."""
    names: set[str] = set()
    while len(names) < count:
        names.add("".join(random.choice(list(_LETTERS), 6)))
    return [str(name) for name in random.permutation(sorted(names))]


def _rows(
    groups: Sequence[Group], names: list[str], random: np.random.Generator
) -> tuple[list[dict[str, Any]], list[Pcm]]:
    """Return rows and clips in an order that, like the ids, does not reveal a label."""
    rows, clips = [], []
    for group in groups:
        group_name = names.pop()
        for member, clip in zip(group.sentence.members, group.clips, strict=True):
            row: dict[str, Any] = {
                "transcript": group.sentence.transcript,
                "cues": dict(member.cues),
                "language": group.sentence.language,
                "source": "synthetic",
                "speaker": group.speaker,
                "contrast_group": group_name,
                "references": [member.reply],
            }
            rows.append(row if group.sentence.expect is None else row | {"expect": group.sentence.expect})
            clips.append(clip)
    best: tuple[float, list[int], list[str]] | None = None
    for _ in range(_DRAWS):
        order = [int(index) for index in random.permutation(len(rows))]
        ids = [str(name) for name in random.permutation(names)[: len(rows)]]
        bias = max(_bias(rows, np.argsort(order)), _bias(rows, np.argsort(np.argsort(ids))))
        if best is None or bias < best[0]:
            best = bias, order, ids
        if bias < _BIAS:
            break
    assert best is not None
    _, order, ids = best
    named = [{"id": ids[k], "audio": f"audio/{ids[k]}.wav", "audio_sha256": "", **rows[k]} for k in order]
    return named, [clips[k] for k in order]


def _bias(rows: Sequence[Mapping[str, Any]], ranks: NDArray[np.int64]) -> float:
    """Return the largest distance of a label's area under the ROC curve from one half.

    Rows of a group compare also with each other: the first label of a pair must not come first mostly.
    """
    worst = 0.0
    for cue, label in sorted({pair for row in rows for pair in row["cues"].items()}):
        mask = np.array([row["cues"].get(cue) == label for row in rows])
        if 4 <= mask.sum() <= len(rows) - 4:
            wins = (ranks[mask][:, None] > ranks[~mask][None]).mean()
            worst = max(worst, abs(float(wins) - 0.5))
            within = _within_groups(rows, mask, ranks)
            worst = max(worst, abs(within - 0.5) / 1.5)
    return worst


def _within_groups(
    rows: Sequence[Mapping[str, Any]], mask: NDArray[np.bool_], ranks: NDArray[np.int64]
) -> float:
    """Return how often a label's row comes after the other rows of its group."""
    groups = np.array([row["contrast_group"] for row in rows])
    wins = [
        float(ranks[k] > ranks[j])
        for k in np.flatnonzero(mask)
        for j in np.flatnonzero(~mask & (groups == groups[k]))
    ]
    return float(np.mean(wins)) if wins else 0.5


def _wav(clip: Pcm) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(clip.tobytes())
    return buffer.getvalue()


def _task_yaml(plan: Plan) -> str:
    values = {
        "name": plan.name,
        "version": plan.version,
        "title": dict(plan.title),
        "cues": list(plan.cues),
        "description": " ".join(plan.description.split()),
        "licence": f"{plan.licence} (see LICENCE beside this file)",
        "redistributable": plan.redistributable,
        "voices": "synthetic",
    }
    return "".join(f"{key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in values.items())


def _licence(plan: Plan, licences: Sequence[str]) -> str:
    parts = "\n".join(f"- {licence}" for licence in licences)
    return (
        f"Sentences, replies and audio of this folder: {plan.licence}\n\n{plan.rights.strip()}\n\n"
        f"The audio is synthetic, unless stated here. It was made with:\n{parts}\n"
    )


def _counted(dropped: Sequence[Dropped]) -> list[tuple[str, int]]:
    return Counter(row.reason for row in dropped).most_common()


def _licence_line(licences: Sequence[str], result: str) -> str:
    """Return the licences of voices and sounds as sentences.

    >>> _licence_line(["a voice (MIT)", "Sounds: computed"], "CC0 1.0")
    'Voices and events: a voice (MIT). Sounds: computed. Licence of the result: CC0 1.0.'
    """
    return "Voices and events: " + ". ".join([*licences, f"Licence of the result: {result}."])


def _data_card(
    plan: Plan, groups: Sequence[Group], dropped: Sequence[Dropped], licences: Sequence[str]
) -> str:
    clips = [(group, member) for group in groups for member in group.sentence.members]
    labels = Counter(f"{cue}: {label}" for _, member in clips for cue, label in sorted(member.cues.items()))
    speakers = Counter((group.sentence.language, group.speaker) for group, _ in clips)
    languages = Counter(group.sentence.language for group, _ in clips)
    same = sum(group.sentence.expect == "same" for group in groups)
    sentences = len({group.sentence.id for group in groups})
    lines = [
        f"# {plan.title['en']}: data card",
        "",
        " ".join(plan.description.split()),
        "",
        f"{counted(len(clips), 'clip')} of {plan.clip.seconds:g} s, {counted(sentences, 'sentence')}, "
        f"{counted(len(groups), 'group')}, of which {same} with the same reply.",
        "",
        _table("Language", languages),
        _table("Label", labels),
        _table("Speaker", {f"{name} ({language})": n for (language, name), n in speakers.items()}),
        _licence_line(licences, plan.licence),
        "",
    ]
    if dropped:
        lines += [_table("Reason of a dropped row", dict(_counted(dropped)))]
    return "\n".join(lines).rstrip("\n") + "\n"


def _table(head: str, counts: Mapping[str, int]) -> str:
    rows = "".join(f"| {name} | {count} |\n" for name, count in sorted(counts.items()))
    return f"| {head} | clips |\n| --- | --: |\n{rows}"
