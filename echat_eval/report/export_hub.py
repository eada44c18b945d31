"""Results of a run for the Hugging Face Hub: evaluation results of models, the data set's task list, a card.

A model's repository holds `.eval_results/*.yaml`, the data set's holds `eval.yaml` at its root:

    .eval_results/echat-eval.yaml   [{dataset: {id, task_id, revision}, value, date, source, notes, ...}, ...]
    eval.yaml                       {name, description, evaluation_framework, tasks: [{id, config, split}]}
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from echat_eval import __version__
from echat_eval.errors import BadData, UsageError
from echat_eval.io.display import markdown_text, number_text
from echat_eval.leaderboard.build import OVERALL
from echat_eval.leaderboard.render import (
    ALL_FAILED,
    apart_lines,
    by_role,
    cell_text,
    estimate_text,
    metric_title,
)
from echat_eval.report.instruments import judge_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from echat_eval.leaderboard.build import Leaderboard, Summary
    from echat_eval.report.runs import MergedRuns

__all__ = ["FRAMEWORK", "HubTarget", "hub_files"]

FRAMEWORK = "echat-eval"
#: `owner/name` as the hub accepts it.
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
#: An address that a reader of the hub can open.
_ADDRESS = re.compile(r"https?://\S+")


@dataclass(frozen=True, slots=True, kw_only=True)
class HubTarget:
    """The data set that results are of.

    Attributes:
        dataset: repository, owner/name.
        revision: commit or tag of it; None: not stated.
        split: of the samples.
        date: of the run, as YYYY-MM-DD; None: not stated.
        url: where the results come from, such as a published report; None: not stated.
    """

    dataset: str
    revision: str | None = None
    split: str = "test"
    date: str | None = None
    url: str | None = None

    def __post_init__(self) -> None:
        if not _REPOSITORY.fullmatch(self.dataset):
            raise UsageError(f"data set '{self.dataset}': expected OWNER/NAME of a repository on the hub")
        if self.url is not None and not (_ADDRESS.fullmatch(self.url) and self.url.isprintable()):
            raise UsageError(f"--url {self.url[:80]!r}: expected an address that begins with https://")
        for option, name in (("--revision", self.revision), ("--split", self.split)):
            if name is not None and not (name.isprintable() and len(name.split()) == 1):
                raise UsageError(f"{option} {name[:80]!r}: expected one word without control characters")


def hub_files(runs: MergedRuns, target: HubTarget) -> tuple[dict[str, str], list[str]]:
    """Return names of files and their content, and one note for each result that is left out.

    Without any result there are no files: a list of tasks or a card alone would look like a result.

    Args:
        runs: merged runs with scores.
        target: the data set on the hub.

    Raises:
        BadData: the runs have no scores, or one was interrupted.
    """
    import yaml

    board = runs.board
    if board is None:
        raise BadData("no scores yet, so there are no results; make them with `echat-eval run FOLDER`")
    if board.unfinished:
        raise BadData(f"{board.unfinished[0]}: the run was interrupted; finish it with the same command")

    def dumped(value: Any) -> str:
        text: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=10_000)
        return text

    notes: list[str] = []
    files = {
        "eval.yaml": dumped(
            {
                "name": "EChat-eval",
                "description": f"Empathetic spoken dialogue: {metric_title(board.headline)}, by task",
                "evaluation_framework": FRAMEWORK,
                "tasks": [{"id": task, "config": task, "split": target.split} for task in board.tasks],
            }
        )
    }
    found = False
    systems = by_role(board, board.headline)["system"]
    if not systems:
        notes.append("no system: floors and ceilings are no results of a model")
    for system in systems:
        results = list(_results(runs, board, system, target, notes))
        if results:
            found = True
            files[f"{system}/.eval_results/{FRAMEWORK}.yaml"] = dumped(results)
        files[f"{system}/model-card.md"] = model_card(runs, system, target)
    return files if found else {}, notes


def _results(
    runs: MergedRuns, board: Leaderboard, system: str, target: HubTarget, notes: list[str]
) -> Iterator[Mapping[str, Any]]:
    """Yield the headline of each task, but no number of failures alone or that missing rows leave open."""
    metric = board.headline
    for task in board.tasks:
        summary = board.summaries.get((system, task, metric.name))
        if summary is None or summary.estimate is None or summary.counts.get("missing") or summary.all_failed:
            notes.append(f"{system}, {task}: no result is written: {_why_none(summary)}")
            continue
        dataset = {"id": target.dataset, "task_id": task}
        if target.revision:
            dataset["revision"] = target.revision
        yield {
            "dataset": dataset,
            "value": float(number_text(summary.estimate.value, metric.digits)),
            **({"date": target.date} if target.date else {}),
            **({"source": {"url": target.url, "name": "EChat-eval report"}} if target.url else {}),
            "evaluation_framework": FRAMEWORK,
            "notes": f"{metric_title(metric)}, {_facts(summary, metric.digits)}{_judge(runs, metric.name)}",
        }


def _why_none(summary: Summary | None) -> str:
    if summary is not None and summary.all_failed:
        return ALL_FAILED
    return "rows are missing" if summary and summary.counts.get("missing") else "not applicable"


def _facts(summary: Summary, digits: int) -> str:
    assert summary.estimate is not None
    counts = summary.counts
    return (
        f"95 % interval: {estimate_text(summary.estimate, digits)}, {summary.estimate.n} samples in "
        f"{summary.estimate.clusters} clusters, {counts.get('failed', 0)} failed, version {__version__}"
    )


def _judge(runs: MergedRuns, metric: str) -> str:
    judge = judge_of(metric, runs.manifests)
    return "" if judge is None else f", judge {judge}"


def model_card(runs: MergedRuns, system: str, target: HubTarget) -> str:
    """Return the section of a model card: every metric by task, with what the numbers rest on."""
    board = runs.board
    assert board is not None
    columns = [OVERALL, *board.tasks]
    titles = ["metric", *("all tasks" if c == OVERALL else board.titles.get(c, c) for c in columns)]
    lines = [
        "## Evaluation with EChat-eval",
        "",
        f"Empathetic spoken dialogue on `{target.dataset}`; mean and 95 % interval over clusters.",
        "",
        "| " + " | ".join(map(markdown_text, titles)) + " |",
        "|---|" + "--:|" * len(columns),
    ]
    metrics = sorted(board.metrics, key=lambda metric: metric.name != board.headline.name)
    for metric in metrics:
        cells = [cell_text(board.summaries.get((system, column, metric.name)), metric) for column in columns]
        if set(cells) != {"-"}:
            lines.append("| " + " | ".join(map(markdown_text, [metric_title(metric), *cells])) + " |")
    counts = board.counts(system)
    lines += [
        "",
        f"{counts.get('value', 0)} replies scored, {counts.get('failed', 0)} failed, "
        f"{counts.get('missing', 0)} missing. Made by echat-eval {__version__}"
        f"{f' on {target.date}' if target.date else ''}.",
    ]
    lines += map(markdown_text, apart_lines(board))
    lines += [f"Judge of {m.title}: {judge}." for m in metrics if (judge := judge_of(m.name, runs.manifests))]
    floors = _floors(board, board.headline.name)
    lines += [f"{metric_title(board.headline)} of floors and ceilings: {floors}."] if floors else []
    return "\n".join([*lines, ""])


def _floors(board: Leaderboard, metric: str) -> str:
    """Return the means of floors and ceilings over all tasks."""
    return ", ".join(
        markdown_text(f"{s} {cell_text(board.summaries.get((s, OVERALL, metric)), board.headline)}")
        for s, role in board.roles.items()
        if role != "system"
    )
