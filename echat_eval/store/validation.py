"""Judges of a run that were held against people: one file per judged metric in the run folder.

The file names the judge by its fingerprint, so that ratings count for no other judge of the same name.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from echat_eval.errors import BadData
from echat_eval.io.display import number_text
from echat_eval.io.files import write_atomically
from echat_eval.io.jsonl import dumps, loads
from echat_eval.io.schema import TEXT, Schema, number, whole

if TYPE_CHECKING:
    from pathlib import Path

    from echat_eval.store.run_folder import RunFolder

__all__ = ["JudgeValidation", "judged_metrics", "read_validation", "validations", "write_validation"]

#: Begin of the names of a judge's metrics.
JUDGE = "judge"


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeValidation:
    """Agreement of one judged metric with people's ratings.

    Attributes:
        fingerprint: of the judge and its questions, as the manifest has it.
        ratings: sha256 of the table of ratings.
        dimension: what people were asked.
        replies, clusters, raters: counts of what both graded.
        assigned: raters that the sheet was made for; None: for anyone, or not known.
        value, low, high: Spearman's correlation with the mean of the raters, and its interval; None if
            undefined.
    """

    metric: str
    fingerprint: str
    ratings: str
    dimension: str
    replies: int
    clusters: int
    raters: int
    value: float | None = None
    low: float | None = None
    high: float | None = None
    assigned: int | None = None

    @property
    def answer(self) -> str:
        """Return "yes" if the judge is shown to agree with people at all, else "not shown"."""
        return "yes" if self.low is not None and self.low > 0 else "not shown"

    def __str__(self) -> str:
        """Return the counts and the correlation."""
        text = "Spearman not defined"
        if self.value is not None:
            text = f"Spearman {number_text(self.value, 2)}"
            if self.low is not None and self.high is not None:
                text += f" [{number_text(self.low, 2)}, {number_text(self.high, 2)}]"
        raters = f"{self.raters} rater{'s' if self.raters != 1 else ''}"
        if self.assigned is not None and self.assigned > self.raters:
            raters = f"{self.raters} of {self.assigned} raters"
        return f"{self.dimension}, {text}, {self.replies} replies, {raters}"


_ROW = Schema(
    {
        **dict.fromkeys(("metric", "fingerprint", "ratings", "dimension"), TEXT),
        **dict.fromkeys(("replies", "clusters", "raters"), whole(1)),
        **dict.fromkeys(("value", "low", "high"), number().optional()),
        "assigned": whole(1).optional(),
    }
)


def judged_metrics(folder: RunFolder) -> dict[str, str]:
    """Return judged metric -> fingerprint of its judge and questions."""
    return {
        metric: facts.fingerprint or ""
        for facts in folder.manifest().scorers.values()
        for metric in facts.metrics or ()
        if metric.startswith(JUDGE)
    }


def validations(folder: RunFolder) -> dict[str, JudgeValidation | None]:
    """Return judged metric -> its agreement with people; None where no ratings were imported."""
    return {
        metric: read_validation(folder.path, metric, fingerprint)
        for metric, fingerprint in judged_metrics(folder).items()
    }


def write_validation(folder: Path, validation: JudgeValidation) -> None:
    """Write the agreement of a metric into a run folder, in place of an earlier one."""
    write_atomically(_path(folder, validation.metric), (dumps(asdict(validation)) + "\n").encode())


def read_validation(folder: Path, metric: str, fingerprint: str) -> JudgeValidation | None:
    """Return the agreement of a metric; None if there is none of this judge.

    Raises:
        BadData: the file is no agreement.
    """
    path = _path(folder, metric)
    if not path.is_file():
        return None
    try:
        row: Any = loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BadData(f"{path}: cannot be read: {error}; import the ratings again") from error
    if not _ROW.holds(row):
        raise BadData(f"{path}: not an agreement that `rate import --run` writes; import the ratings again")
    found = JudgeValidation(**row)
    return found if found.fingerprint == fingerprint else None


def _path(folder: Path, metric: str) -> Path:
    safe = "".join(c if c.isalnum() or c in "-_" else "-" for c in metric)
    return folder / f"people-{safe}.json"
