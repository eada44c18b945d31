"""Replies that people graded, beside the task they answer: files for `replay`, and a table of ratings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echat_eval.errors import BadData
from echat_eval.io.hashing import file_sha256
from echat_eval.io.jsonl import rows_text
from echat_eval.io.ratings import Rating, ratings_csv

if TYPE_CHECKING:
    from collections.abc import Sequence

    from echat_eval.importers.draft import Draft
    from echat_eval.io.unfinished import NewFolder

__all__ = ["RATINGS", "REPLIES", "write_replies"]

#: In the task's folder: the folder of the replies, one JSONL file per system, and people's ratings.
REPLIES, RATINGS = "replies", "ratings.csv"
#: Why a system has no score of a sample.
NO_REPLY = "the imported set has no graded reply of this system to this sample"


def write_replies(folder: NewFolder, drafts: Sequence[tuple[Draft, str]], task: str) -> None:
    """Write the replies of samples, with copies of their audio, and people's grades of them.

    Args:
        folder: of the task.
        drafts: the samples, each with the hash of its query, which names its replies; nothing is written if
            none has replies.
        task: its name.
    """
    systems = dict.fromkeys(reply.system for draft, _ in drafts for reply in draft.replies)
    rows: dict[str, list[dict[str, str]]] = {system: [] for system in systems}
    ratings: list[Rating] = []
    for draft, query in drafts:
        for system in systems:
            if all(reply.system != system for reply in draft.replies):
                rows[system].append({"id": query, "not_applicable": NO_REPLY})
        for reply in draft.replies:
            try:
                sha256 = file_sha256(reply.audio)
                audio = f"{sha256}{reply.audio.suffix.lower()}"
                folder.copy(f"{REPLIES}/{audio}", reply.audio, sha256)
            except OSError as error:
                raise BadData(f"{reply.audio}: cannot be read: {error.strerror or error}") from error
            text = {"text": reply.text} if reply.text else {}
            rows[reply.system].append({"id": query, "audio": audio, **text})
            ratings += [
                Rating(
                    rater=rater,
                    system=reply.system,
                    task=task,
                    sample_id=draft.id,
                    dimension=dimension,
                    value=value,
                    low=reply.scale[0],
                    high=reply.scale[1],
                )
                for (rater, dimension), value in reply.grades.items()
            ]
    for system, replies in rows.items():
        folder.write(f"{REPLIES}/{system}.jsonl", rows_text(replies))
    if ratings:
        folder.write(RATINGS, ratings_csv(ratings))
