"""Every surface prints the same numbers: leaderboard, compare, gate, report, page and API, on one scripted run.

Each surface is read back from what a user gets (a printed table, a file, a data frame) into number -> value.
`disagreements` lays them side by side: machine-readable values must be equal, printed ones must be their
rounding to the last digit shown. A failure lists the number and what each surface has for it.
"""

from __future__ import annotations

import csv
import html
import importlib
import json
import math
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise, permutations
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import echat_eval as ev
from echat_eval.analysis.differences import ImputedEstimates
from echat_eval.analysis.runs import load_scored_system
from echat_eval.cli import terminal
from echat_eval.cli.compare_gate import compare_command, gate_command
from echat_eval.cli.leaderboard import leaderboard as leaderboard_command
from echat_eval.cli.report import report as report_command
from echat_eval.errors import NotApplicable, SystemFailure, Unavailable
from echat_eval.judge import NO_VOICE_EMOTION
from echat_eval.leaderboard.by_voice import CEILING
from echat_eval.leaderboard.view import LeaderboardView, view_leaderboard
from echat_eval.ports import Case
from echat_eval.records import AudioRef, Metric, Reply, Request, Score
from echat_eval.report.marks import pair_tests
from echat_eval.report.runs import merge_runs
from echat_eval.scorers.cue_contrast import MATCH
from echat_eval.scorers.over_reaction import METRIC as OVER_REACTION
from echat_eval.testing import (
    ScriptedAnnotator,
    ScriptedChatServer,
    ScriptedOracle,
    ScriptedScorer,
    ScriptedSystem,
    judge_verdict,
    shown_to_judge,
)
from tests.support.present import present
from tests.support.scripted_world import make_task, number_of, tone

pytestmark = pytest.mark.slow

#: A number: what it is, and of which system (or pair), task and metric.
Key = tuple[str, ...]
#: A number as a program reads it, or as it is printed.
Shown = float | int | str | None
Surfaces = dict[str, dict[Key, Shown]]

TASKS = ("emotion", "age")
BASELINE, CANDIDATE = "average", "careful"
PAIR = f"{CANDIDATE} - {BASELINE}"
#: Percent within which pairs of systems are shown to be.
WITHIN = 60
#: As the tables print them.
NUMBER = r"[+-]?\d+(?:\.\d+)?"

#: By suiting the voice, so "all" leaves out the task "age".
HEAD = replace(MATCH, name="judge_r1_match_rate", title="Judge's match rate", proxy=False)
OVER_REACTION_OF_JUDGE = replace(OVER_REACTION, name="judge_r1_over_reaction", title="Judge's over-reaction")
SPEED = Metric(
    name="speech_rate",
    title="Speech rate",
    unit="%",
    low=0,
    high=None,
    higher_is_better=False,
    average="ratio",
    digits=2,
)
#: No worst value, no mean over both tasks, and eighths, which end in 5 at the last digit shown.
TONE = Metric(name="tone", title="Tone", unit="points", low=0, high=100, higher_is_better=True, pooled=False)
SCRIPTED = (HEAD, SPEED, TONE, MATCH, OVER_REACTION, OVER_REACTION_OF_JUDGE)
#: Metrics with a table by task on the terminal, in Markdown and in notebooks, in order.
BY_TASK = (HEAD.name, TONE.name)


# -- the run -----------------------------------------------------------------------


def system(name: str, skill: float, *, breaks: str = "", role: Any = None, voice: bool = True) -> Any:
    """Return a system that is right with probability `skill`, and fails or is away on some recordings."""

    def respond(request: Request) -> Reply:
        chance = number_of(request.audio.sha256, name)
        if breaks == "failed" and chance < 0.2:
            raise SystemFailure("no answer from the vocoder")
        if breaks == "missing" and chance < 0.2:
            raise Unavailable("503")
        right = number_of(request.audio.sha256, "hard") < skill
        labels = {"emotion": "sad" if chance < 0.6 else "happy", "age": "old" if chance < 0.5 else "adult"}
        return Reply(
            text=f"I hear that you sound {labels['emotion']}." if right else "All right, sad or not.",
            audio=tone(300 if right else 200, 0.4) if voice else None,
            perceived={cue: label for cue, label in labels.items() if role is None and chance > 0.3},
        )

    return ScriptedSystem(respond, name, role=role, fingerprint=f"{name} {skill} {breaks}")


def systems() -> list[Any]:
    return [
        system(CANDIDATE, 0.9),
        system("middling", 0.6),
        system(BASELINE, 0.5, breaks="failed"),
        system("away", 0.5, breaks="missing"),
        system("text-only", 0.4, voice=False),
        ScriptedSystem(Reply(text="I am here for you.", audio=tone(220, 0.4)), "canned", role="floor"),
        ScriptedOracle(lambda sample: Reply(text=f"You sound {next(iter(sample.cues.values()))}."), CEILING),
    ]


def annotators() -> list[ScriptedAnnotator]:
    def transcribe(audio: AudioRef, language: str) -> Mapping[str, Any]:
        if language == "zh":
            raise NotApplicable("supports English only")
        return {"hypothesis": "I hear that you sound sad."}

    def emotion(audio: AudioRef, language: str) -> Mapping[str, Any]:
        label = ("sad", "happy", "neutral")[int(3 * number_of(audio.sha256, "voice"))]
        return {"emotion": label, "confidence": 0.5}

    return [
        ScriptedAnnotator(transcribe, "whisper"),
        ScriptedAnnotator(emotion, "emotion2vec"),
        ScriptedAnnotator({"emotion": "sad", "confidence": 0.9}, "sensevoice"),
    ]


def scripted_scorer() -> ScriptedScorer:
    """Return the match rates, a ratio with weights, and a metric without a worst value; some rows are missing."""

    def score(case: Case) -> list[Score]:
        if case.no_reply is not None:
            state, reason = case.no_reply
            return [case.score(metric, state, reason=reason) for metric in SCRIPTED]
        reply, sample = case.response.reply, case.sample
        assert reply is not None
        chance = number_of(sample.id, sample.task, reply.text)
        match = 50 * ("I hear" in (reply.text or "")) + 50 * chance
        others = (
            case.score(MATCH, "value", value=100 * number_of(chance)),
            *(
                case.score(metric, "value", value=100 * chance - 50)
                if sample.cues.get("age") == "old"
                else case.score(metric, "not applicable", reason="not marked")
                for metric in (OVER_REACTION, OVER_REACTION_OF_JUDGE)
            ),
        )
        if case.response.system == "middling" and chance < 0.1:
            return [
                case.score(HEAD, "missing", reason="the scorer is away"),
                case.score(SPEED, "not applicable", reason="no clock"),
                case.score(TONE, "missing", reason="the scorer is away"),
                *others,
            ]
        spoken = reply.audio is not None
        return [
            case.score(HEAD, "value", value=match),
            case.score(SPEED, "value", value=100 * chance, weight=float(1 + len(sample.transcript.split())))
            if spoken
            else case.score(SPEED, "not applicable", reason="a text reply"),
            case.score(TONE, "value", value=np.floor(8 * chance) * 6.25 + 3.125)
            if spoken
            else case.score(TONE, "not applicable", reason="a text reply"),
            *others,
        ]

    return ScriptedScorer(score, "scripted", metrics=SCRIPTED, families=("dialogue",), scores_all=True)


def grade(request: dict[str, Any]) -> str:
    """Return the scripted judge's verdict; now and then an answer that is none, so that the score is missing."""
    shown = shown_to_judge(request)
    chance = number_of(shown["transcript"], shown["reply"], shown["cues"])
    if number_of(shown["transcript"], shown["reply"]) < 0.08:
        return "I would rather not."
    voice = {} if shown["voice_emotion"] == NO_VOICE_EMOTION else {"voice": int(6 * chance)}
    return judge_verdict(int(6 * chance), int(6 * number_of(chance)), 3, **voice)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> ev.Run:
    """Return one run: two tasks and a question about each, seven systems, three annotators, a judge."""
    root = tmp_path_factory.mktemp("surfaces")
    make_task(root / "tasks", "emotion", 6)
    make_task(root / "tasks", "age", 6)
    common: dict[str, Any] = {"data": root / "tasks", "out": root / "run", "tries": 1, "cache": False}
    with ScriptedChatServer(grade) as server:
        judge = {"model": "scripted-2026-01-01", "url": server.url}
        made = ev.evaluate(
            systems(),
            tasks=TASKS,
            annotators=annotators(),
            scorers=[scripted_scorer(), "outcome", "transcription", "readability"],
            judges=judge,
            **common,
        )
        ev.evaluate(
            [*systems()[:4]], tasks="emotion", ask="emotion", annotators=annotators(), scorers=None, **common
        )
    states = {(s.metric, s.state) for s in made.folder.scores().values()}
    for state in ("value", "failed", "missing", "not applicable"):
        assert (HEAD.name if state != "not applicable" else TONE.name, state) in states
    return ev.load_run(made.path)


# -- side by side ------------------------------------------------------------------


def disagreements(surfaces: Surfaces) -> list[str]:
    """Return one line per number that two surfaces show differently."""
    numbers: dict[Key, dict[str, Shown]] = {}
    for name, found in surfaces.items():
        for key, shown in found.items():
            numbers.setdefault(key, {})[name] = shown
    lines = []
    for key, by_surface in numbers.items():
        exact = {name: shown for name, shown in by_surface.items() if not isinstance(shown, str)}
        reference = next(iter(exact.values()), None)
        differs = any(shown != reference for shown in exact.values()) or any(
            shown != printed(reference, shown) for shown in by_surface.values() if isinstance(shown, str)
        )
        if differs:
            lines.append(f"{' | '.join(key)}: " + ", ".join(f"{n} {s!r}" for n, s in by_surface.items()))
    return lines


def printed(number: Shown, as_in: str) -> str | None:
    """Return a number with the sign and the decimals of a printed one; zero has no minus sign."""
    if number is None or isinstance(number, str):
        return None
    sign = "+" if as_in.startswith("+") else ""
    decimals = len(as_in.partition(".")[2])
    text = f"{number:{sign}.{decimals}f}"
    return text.replace("-", sign) if float(text) == 0 else text


def cell(text: str, key: Key) -> dict[Key, Shown]:
    """Return the numbers of a cell such as "1.5 [0.2, 2.8] {0.9..2.0}"; none of "-", "?" and "all failed"."""
    match = re.fullmatch(
        rf"(?P<value>{NUMBER})(?: \[(?P<low>{NUMBER}), (?P<high>{NUMBER})\]| \[(?:no spread|one cluster)\])?"
        rf"(?: \{{(?:(?P<worst>{NUMBER})|\?)\.\.(?:(?P<best>{NUMBER})|\?)\}})?",
        text,
    )
    if match is None:
        assert text in {"-", "?", "all failed", ""}, text
        return {}
    names = {"value": "value", "low": "low", "high": "high", "worst": "worst case", "best": "best case"}
    return {(names[name], *key): shown for name, shown in match.groupdict().items() if shown}


# -- levels: one system, task and metric ---------------------------------------------

COUNTS = ("failed", "missing", "not applicable")
#: In place of a task: rows of every task; "all" leaves out age for metrics that reward suiting the voice.
EVERY = "every task"
LEVELS = ("value", "low", "high", "n", "clusters", "worst case", "best case")
RANKS = ("rank", "rank low", "rank high")


def from_frame(frame: pd.DataFrame) -> dict[Key, Shown]:
    found: dict[Key, Shown] = {}
    for row in frame.to_dict("records"):
        ranked = row["task"] == "all" and row["metric"] == HEAD.name
        for name in (*LEVELS, *COUNTS, *(RANKS if ranked else ())):
            shown = row[name.replace(" ", "_")]
            found[name, row["system"], row["task"], row["metric"]] = None if pd.isna(shown) else shown
    return found


def rank_set(text: str, name: str) -> dict[Key, Shown]:
    """Return the numbers of a set of ranks: "1", "1 to 3", "?" or "" without a rank."""
    match = re.fullmatch(r"(\d+)(?: to (\d+))?", text)
    assert match or text in ("?", ""), text
    low, high = (int(match[1]), int(match[2] or match[1])) if match else (None, None)
    key = (name, "all", HEAD.name)
    return {
        ("rank", *key): low if low == high else None,
        ("rank low", *key): low,
        ("rank high", *key): high,
    }


def of_frame(run: ev.Run, _: Files) -> dict[Key, Shown]:
    return from_frame(run.leaderboard().to_frame())


def of_csv(_: ev.Run, files: Files) -> dict[Key, Shown]:
    with (files.board / "leaderboard.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    texts = ("system", "role", "task", "metric", "unit", "validated_against_people")
    numbers = [
        {name: shown if name in texts else float(shown) if shown else None for name, shown in row.items()}
        for row in rows
    ]
    return from_frame(pd.DataFrame(numbers))


@cache
def columns_of(run: ev.Run) -> tuple[dict[str, str], dict[str, str]]:
    """Return title -> metric, and title or name -> task."""
    manifest = run.folder.manifest()
    metrics = {
        f"{m.title}{f', {m.unit}' if m.unit else ''} {'↑' if m.higher_is_better else '↓'}": m.name
        for m in manifest.metrics
    }
    tasks = {facts.title["en"]: name for name, facts in manifest.tasks.items()}
    return metrics, {**tasks, **{name: name for name in manifest.tasks}, "all": "all"}


def from_tables(run: ev.Run, tables: list[list[list[str]]]) -> dict[Key, Shown]:
    """Return the numbers of the tables of a leaderboard, given as rows of cells, the titles first."""
    metrics, tasks = columns_of(run)
    found: dict[Key, Shown] = {}
    # The listening gaps and the error attribution are read in tests of their own.
    tables = [table for table in tables if not {"replies matched by", "label given"} & set(table[0])]
    assert len(tables) == len(BY_TASK) + 1
    for (titles, *rows), metric in zip(tables, (*BY_TASK, None), strict=True):
        assert metric is None or ("all" in titles) == (metric == HEAD.name)
        for row in rows:
            cells = dict(zip(titles, row, strict=True))
            name = re.sub(r" \((floor|ceiling)\)$", "", cells["system"])
            if metric is not None:
                for title, text in cells.items():
                    if title in tasks:
                        found |= cell(text, (name, tasks[title], metric))
                if "rank" in cells:
                    found |= rank_set(cells["rank"], name)
                continue
            for title, text in cells.items():
                if title in metrics:
                    found |= cell(text, (name, "all", metrics[title]))
            for title, state in (("failed", "failed"), ("missing", "missing"), ("n/a", "not applicable")):
                found[state, name, EVERY, HEAD.name] = int(cells[title])
    return found


def of_markdown(run: ev.Run, files: Files) -> dict[Key, Shown]:
    return from_tables(run, markdown_tables((files.board / "leaderboard.md").read_text()))


def markdown_tables(text: str) -> list[list[list[str]]]:
    tables: list[list[list[str]]] = [[]]
    for line in text.splitlines():
        if line.startswith("|") and not re.fullmatch(r"[|:-]+", line):
            cells = re.split(r"(?<!\\)\|", line.strip("|"))
            tables[-1].append([re.sub(r"\\(.)", r"\1", c).strip().strip("*") for c in cells])
        elif not line.startswith("|") and tables[-1]:
            tables.append([])
    return [table for table in tables if table]


#: Beginnings of the lines below the tables of the terminal.
ENDS = ("Rank:", "no reply has a value")


def of_terminal(run: ev.Run, files: Files) -> dict[Key, Shown]:
    """Return the numbers of the tables on the terminal; the last has one row per measure and system."""
    tables = []
    titles = (
        "Judge's match rate, % ↑, mean",
        "Tone, points ↑, mean",
        "Rows of the headline",
        "Other measures",
    )
    for block in re.split(f"(?m)^(?={'|'.join(map(re.escape, titles))})", files.printed):
        if not block.startswith(titles):
            continue
        lines = block.splitlines()
        rule = next(n for n, line in enumerate(lines) if line.strip().startswith("──"))
        # The columns of the table lie where the rule below the titles has no gap.
        rows = [line for line in (lines[rule - 1], *lines[rule + 1 :]) if line.strip()]
        rows = rows[: next((n for n, line in enumerate(rows) if line.startswith(ENDS)), len(rows))]
        tables.append(split_columns(rows))
    *by_task, counts, others = tables
    measures = [*dict.fromkeys(row[0] for row in others[1:] if row[0])]
    cells: dict[tuple[str, str], str] = {}
    measure = ""
    for name, system, text in others[1:]:
        measure = name or measure
        cells[system, measure] = text
    counts = [
        [*counts[0], *measures],
        *([*row, *(cells[row[0], title] for title in measures)] for row in counts[1:]),
    ]
    return from_tables(run, [*by_task, counts])


def split_columns(rows: list[str]) -> list[list[str]]:
    """Return the cells of a table whose columns are at least two blanks apart in every row."""
    width = max(map(len, rows))
    padded = [row.ljust(width) for row in rows if not row.strip().startswith("──")]
    gap = [all(row[at] == " " for row in padded) for at in range(width)]
    edges = [at for at in range(width) if not gap[at] and (at < 2 or (gap[at - 1] and gap[at - 2]))]
    return [[row[a:b].strip() for a, b in zip(edges, [*edges[1:], width], strict=True)] for row in padded]


@cache
def shown_view(run: ev.Run) -> LeaderboardView:
    """Return the leaderboard that a notebook shows."""
    return view_leaderboard([run.folder], within=WITHIN)


def of_notebook_text(run: ev.Run, _: Files) -> dict[Key, Shown]:
    by_task, _title, rest = str(shown_view(run)).partition("Other measures, over all tasks\n")
    headline, _title, second = by_task.partition("Tone, points ↑, mean and 95 % interval\n")
    metrics = columns_of(run)[0]
    others = [
        "system",
        "scored",
        "failed",
        "missing",
        "n/a",
        *(t for t in metrics if metrics[t] not in BY_TASK),
    ]
    board = shown_view(run).board
    tone = next(metric for metric in board.metrics if metric.name == TONE.name)
    first, by_task_only = board.columns(board.headline), board.columns(tone)
    titles = (["rank", "system", *first], ["system", *by_task_only], others)
    lines = [
        headline.strip("\n").splitlines()[1:],
        second.strip("\n").splitlines(),
        rest.partition("\n\n")[0].splitlines(),
    ]
    return from_tables(run, [right_aligned(*pair) for pair in zip(lines, titles, strict=True)])


def right_aligned(lines: list[str], titles: list[str]) -> list[list[str]]:
    """Return the cells of a table whose columns end where their titles end."""
    ends = [0]
    for title in titles:
        ends.append(lines[0].index(title, ends[-1]) + len(title))
    return [[line[a:b].strip() for a, b in pairwise(ends)] for line in lines]


def of_notebook_html(run: ev.Run, _: Files) -> dict[Key, Shown]:
    tables = [
        [
            re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)
            for row in re.findall(r"<tr.*?</tr>", table, re.DOTALL)
        ]
        for table in re.findall(r"<table.*?</table>", shown_view(run)._repr_html_(), re.DOTALL)
    ]
    return from_tables(run, tables)


def measured(run: ev.Run, name: str, row: str, column: str) -> Key | None:
    """Return system, task and metric of a cell of a report's table; None if it is not a level."""
    metrics, tasks = columns_of(run)
    system = re.sub(r" \((floor|ceiling)\)$", "", row)
    if name == "overview":
        return (system, "all", metrics[column]) if column in metrics else None
    if (name == "leaderboard" or name.startswith("by-task-")) and column != "rank":
        metric = HEAD.name if name == "leaderboard" else name.removeprefix("by-task-")
        return (system, tasks[column], metric) if system in run.systems else None
    return None


def of_report_csv(run: ev.Run, files: Files) -> dict[Key, Shown]:
    found: dict[Key, Shown] = {}
    for path in sorted((files.report / "tables").glob("*.csv")):
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                key = measured(run, row["table"], row["row"].lstrip("'"), row["column"])
                if row["state"] == "value" and row["block"] != "published" and key is not None:
                    for name in ("value", "low", "high"):
                        found[name, *key] = float(row[name]) if row[name] else None
                elif row["column"] == "rank" and row["row"].lstrip("'") in run.systems:
                    found |= rank_set(
                        row["low"] + f" to {row['high']}" * (row["low"] != row["high"]), row["row"]
                    )
                elif row["table"] == "overview" and row["column"] in ("failed", "missing"):
                    system = re.sub(r" \((floor|ceiling)\)$", "", row["row"])
                    found[row["column"], system, EVERY, HEAD.name] = float(row["value"])
    return found


def from_report_table(run: ev.Run, name: str, table: list[list[str]]) -> dict[Key, Shown]:
    titles, *rows = table
    found: dict[Key, Shown] = {}
    for label, *cells in rows:
        for column, text in zip(titles[1:], cells, strict=False):
            if (key := measured(run, name, label, column)) is not None:
                found |= cell(text, key)
            elif column == "rank" and label in run.systems:
                found |= rank_set(text, label)
    return found


def of_report_markdown(run: ev.Run, files: Files) -> dict[Key, Shown]:
    found: dict[Key, Shown] = {}
    for path in sorted((files.report / "tables").glob("*.md")):
        text = path.read_text().replace("**", "").replace("<u>", "").replace("</u>", "")
        for table in markdown_tables(text) if path.stem != "tables" else []:
            found |= from_report_table(run, path.stem, table)
    return found


def of_report_latex(run: ev.Run, files: Files) -> dict[Key, Shown]:
    found: dict[Key, Shown] = {}
    for path in sorted((files.report / "tables").glob("*.tex")):
        for panel in path.read_text().split(r"\toprule")[1:]:
            rows = panel.partition(r"\bottomrule")[0].splitlines()
            table = [plain(line) for line in rows if line.endswith(r"\\")]
            found |= from_report_table(run, path.stem, table)
    return found


def plain(row: str) -> list[str]:
    """Return the cells of a row of a LaTeX table as text."""
    cells = re.split(r"(?<!\\) & ", row.removesuffix(r" \\"))
    for pattern, text in (
        (r"\\(?:textbf|underline)\{((?:[^{}]|\{[^{}]*\})*)\}", r"\1"),
        (r"\\EChatCell\{(.*?)\}\{((?:[^{}]|\{[^{}]*\}|\\[{}])*)\}$", r"\1 \2"),
        (r"\\EChatLines\{.\}\{.\}(.*)\\end\{tabular\}", r"\1"),
        (r"\\\\(?: |\{\})", lambda found: found[0][2:].strip("{}")),
        (r"\$-\$", "-"),
        (r"\{([-\[\]])\}", r"\1"),
        (r"\\([{}$&#_%])", r"\1"),
        (r"\$\\uparrow\$", "↑"),
        (r"\$\\downarrow\$", "↓"),
    ):
        cells = [re.sub(pattern, text, c) for c in cells]
    return cells


def of_provenance(run: ev.Run, files: Files) -> dict[Key, Shown]:
    found: dict[Key, Shown] = {}
    for row in json.loads((files.report / "provenance.json").read_text())["cells"]:
        key = measured(run, row["table"], row["row"], row["column"])
        if key is not None and "published" not in row and row["text"] not in ("-", "?"):
            found["value", *key] = row["value"]
            found |= {k: v for k, v in cell(row["text"], key).items() if k[0] != "value"}
    return found


def page_data(files: Files, name: str) -> Any:
    text = (files.report / "page" / "data" / f"{name}.js").read_text()
    return json.loads(json.loads(text[text.index(",") + 1 : text.rindex(")")]))


def of_page(run: ev.Run, files: Files) -> dict[Key, Shown]:
    found: dict[Key, Shown] = {}
    names = {"value": "value", "low": "low", "high": "high", "worst case": "worst", "best case": "best"}
    board = page_data(files, "board")
    for metric, by_system in board["cells"].items():
        for system, by_task in by_system.items():
            for task, facts in by_task.items():
                key = (system, task, metric)
                found |= {(name, *key): facts[own] for name, own in names.items()}
                found |= {(state, *key): facts["counts"].get(state, 0) for state in COUNTS}
                if facts["value"] is not None:
                    found |= {(name, *key): facts[name] for name in ("n", "clusters")}
    for system, (low, high) in board["ranks"].items():
        found |= rank_set(str(low) if low == high else f"{low} to {high}", system)
    return found


def of_page_as_shown(run: ev.Run, files: Files) -> dict[Key, Shown]:
    """Return the numbers of the page as its script prints them; needs node."""
    digits = {m["name"]: m["digits"] for m in page_data(files, "board")["metrics"]}
    numbers = {
        key: shown
        for key, shown in of_page(run, files).items()
        if key[0] in ("value", "low", "high", "worst case", "best case") and shown is not None
    }
    script = (files.report / "page" / "core.js").read_text()
    function = re.search(r"function number\(.*?\n  \}", script, re.DOTALL)
    assert function is not None
    given = json.dumps([[shown, digits[key[-1]]] for key, shown in numbers.items()])
    program = f"{function.group()}; console.log(JSON.stringify({given}.map((a) => number(...a))))"
    done = subprocess.run(["node", "-e", program], capture_output=True, text=True, check=True)
    return {key: text.replace("−", "-") for key, text in zip(numbers, json.loads(done.stdout), strict=True)}


def of_scores(run: ev.Run, _: Files) -> dict[Key, Shown]:
    """Return means and counts computed from the rows that a user gets."""
    metrics = {m.name: m for m in run.folder.manifest().metrics}
    found: dict[Key, Shown] = {}
    scores = run.scores()
    in_all = scores[scores["in_all"].ne("no")]
    for task, rows in [("all", in_all), (EVERY, scores), *scores.groupby("task", sort=False)]:
        for (system, name), own in rows.groupby(["system", "metric"], sort=False):
            key = (system, task, name)
            found |= {(state, *key): int((own["state"] == state).sum()) for state in COUNTS}
            valued = own[own["value"].notna()]
            found["n", *key] = len(valued) or None
            found["value", *key] = mean_of(valued, metrics[name].average) if len(valued) else None
    return found


def mean_of(rows: pd.DataFrame, average: str) -> float:
    if average == "macro recall":
        return float(
            math.fsum(means := [fsum_mean(r["value"]) for _, r in rows.groupby("label")]) / len(means)
        )
    if average == "ratio":
        return math.fsum(rows["value"] * rows["weight"]) / math.fsum(rows["weight"])
    return fsum_mean(rows["value"])


def fsum_mean(values: pd.Series) -> float:
    return math.fsum(values) / len(values)


def of_gate_levels(run: ev.Run, files: Files) -> dict[Key, Shown]:
    """Return the levels that the gate holds against its limits, where no row is missing."""
    found: dict[Key, Shown] = {}
    for rule in files.decision.rules:
        if rule.kind == "floor" and not rule.detail:
            key = (CANDIDATE, "all", rule.name.partition(",")[0])
            found |= {("value", *key): rule.value, ("low", *key): rule.low, ("high", *key): rule.high}
            found |= {("n", *key): rule.n, ("clusters", *key): rule.clusters}
    return found


def of_baseline(run: ev.Run, files: Files) -> dict[Key, Shown]:
    """Return the number of failed replies that the gate prints; the leaderboard has it as a metric."""
    text = re.search(r"failed replies: (\d+) of (\d+)", files.decision.failures)
    assert text is not None
    return {
        ("failed", CANDIDATE, "all", "failed"): int(text[1]),
        ("n", CANDIDATE, "all", "failed"): int(text[2]),
    }


# -- differences between two systems ---------------------------------------------------


def of_compare(run: ev.Run, _: Files) -> dict[Key, Shown]:
    found: dict[Key, Shown] = {}
    frame = ev.compare(f"{run.path}:{BASELINE}", f"{run.path}:{CANDIDATE}").to_frame()
    for row in frame[frame["part"] != "slice"].to_dict("records"):
        key = (PAIR, "all" if row["part"] == "pooled" else row["name"], row["metric"])
        for name in ("difference", "low", "high", "n", "clusters", "p"):
            shown = None if pd.isna(row[name]) else row[name]
            found[name, *key] = shown
        found |= {("adjusted p", *key): None if pd.isna(row["adjusted"]) else row["adjusted"]}
        found |= {(name, *key): 100 * row[name] for name in ("won", "lost", "tied")}
    return found


def of_compare_text(run: ev.Run, files: Files) -> dict[Key, Shown]:
    found: dict[Key, Shown] = {}
    metric = ""
    lines = files.compared.splitlines()
    for number, line in enumerate(lines):
        if re.search("change +95 % interval", line):
            metric, secondary = line.split()[0], False
        secondary = line.startswith("  secondary") or (
            bool(line.strip()) and "secondary" in lines[number - 1]
        )
        match = re.match(
            rf"  (all tasks|\S+) +({NUMBER}) +\[({NUMBER}), ({NUMBER})\]"
            rf" +(\S+) +(\d+)% +(\d+)% +(\d+)% +(\d+) +(\d+)",
            line,
        )
        if match is None or secondary or " = " in line:
            continue
        key = (PAIR, "all" if match[1] == "all tasks" else match[1], metric)
        names = ("difference", "low", "high", "", "won", "lost", "tied")
        found |= {(n, *key): s for n, s in zip(names, match.groups()[1:8], strict=True) if n}
        found |= {("n", *key): int(match[9]), ("clusters", *key): int(match[10])}
    return found


#: Part of a rule of the gate that holds for few speakers or sentences only.
GIVEN = "holds for"


def of_decision(run: ev.Run, files: Files) -> dict[Key, Shown]:
    decision = files.decision
    assert decision.difference is not None
    key = (PAIR, "all", HEAD.name)
    found: dict[Key, Shown] = {
        ("difference", *key): decision.difference.value,
        ("low", *key): decision.low,
        ("high", *key): decision.high,
    }
    for rule in decision.rules:
        # The gate takes few speakers or sentences as fixed; other surfaces generalise over them.
        apart = "are needed" in rule.detail or GIVEN in rule.detail
        if rule.kind in ("primary", "margin", "guard") and not apart:
            metric, task = rule.name.partition(":")[0].split(", ")
            key = (PAIR, "all" if task == "all tasks" else task, metric)
            found |= {("difference", *key): rule.value, ("low", *key): rule.low, ("high", *key): rule.high}
            found |= {("n", *key): rule.n, ("clusters", *key): rule.clusters}
    return found


def from_rule(name: str, text: str) -> dict[Key, Shown]:
    """Return the numbers of a rule as the gate prints it."""
    match = re.match(rf"({NUMBER}) \[({NUMBER}), ({NUMBER})\]", text)
    requirement = re.match(r"(\S+), ([^:]+): (drop below|no significant drop beyond)", name)
    if match is None or requirement is None or GIVEN in text:
        return {}
    key = (PAIR, "all" if requirement[2] == "all tasks" else requirement[2], requirement[1])
    return {(n, *key): s for n, s in zip(("difference", "low", "high"), match.groups(), strict=True)}


def from_headline(text: str) -> dict[Key, Shown]:
    match = re.search(rf"{HEAD.name} ({NUMBER}) \[({NUMBER}), ({NUMBER})\] on", text)
    assert match is not None
    names = ("difference", "low", "high")
    return {(n, PAIR, "all", HEAD.name): s for n, s in zip(names, match.groups(), strict=True)}


def of_gate_text(_: ev.Run, files: Files) -> dict[Key, Shown]:
    return from_headline(files.gated)


def of_junit(_: ev.Run, files: Files) -> dict[Key, Shown]:
    found: dict[Key, Shown] = {}
    for case in ET.fromstring(files.junit.read_text()).iter("testcase"):
        for part in case:
            if part.tag == "system-out":
                found |= from_headline(part.text or "")
            elif case.get("name") != "outcome":
                found |= from_rule(case.get("name", ""), part.get("message", ""))
    return found


def of_summary(_: ev.Run, files: Files) -> dict[Key, Shown]:
    text = files.summary.read_text()
    found = from_headline(text.replace("\\", ""))
    for table in markdown_tables(text):
        for name, _state, numbers, *_rest in table[1:]:
            found |= from_rule(name, numbers)
    return found


def of_ablation(run: ev.Run, files: Files) -> dict[Key, Shown]:
    _, tasks = columns_of(run)
    found: dict[Key, Shown] = {}
    (table,) = markdown_tables((files.report / "tables" / "ablation.md").read_text().replace("**", ""))[:1]
    for label, *cells in table[1:]:
        for column, text in zip(table[0][1:], cells, strict=True):
            if label == CANDIDATE and (match := re.search(rf"\(({NUMBER})\*?\)", text)):
                found["difference", PAIR, tasks[column], HEAD.name] = match[1]
    return found


def of_pair_tests(run: ev.Run, _: Files) -> dict[Key, Shown]:
    """Return the tests behind the marks of the report's tables."""
    merged = merge_runs([run.folder])
    found: dict[Key, Shown] = {}
    for metric in run.folder.manifest().metrics:
        for test in pair_tests(merged, metric, [BASELINE, CANDIDATE], ["all", *TASKS]):
            if test.p is not None and test.difference is not None:
                key = (PAIR, test.column, metric.name)
                sign = 1.0 if test.better == CANDIDATE else -1.0
                found |= {("difference", *key): sign * test.difference, ("p", *key): test.p}
    return found


# -- a trend, and the means that it starts from ------------------------------------------


def of_trend(run: ev.Run, _: Files) -> dict[Key, Shown]:
    """Return the means in a trend of systems, for the metrics under which each has a value of every sample."""
    names = (BASELINE, CANDIDATE, "canned")
    found: dict[Key, Shown] = {}
    counts = run.scores().groupby(["system", "metric"])["value"].apply(lambda v: int(v.notna().sum()))
    metrics = ["failed", "empty_reply", "unreadable_reply"]  # the others lack values
    for trend in ev.compare(*(f"{n}={run.path}:{n}" for n in names), metrics=metrics).trends:
        if all(counts[name, trend.metric] == trend.slope.n for name in names) and trend.task is None:
            means = zip(names, trend.means, strict=True)
            found |= {("value", name, "all", trend.metric): mean for name, mean in means}
    return found


# -- recall of named labels ------------------------------------------------------------------


def of_notes(_: ev.Run, files: Files) -> dict[Key, Shown]:
    found: dict[Key, Shown] = {}
    for line in files.printed.splitlines():
        match = re.match(
            rf"- (\S+) perceives (\S+) \((named|asked)[^)]*\): UAR ({NUMBER}) \[({NUMBER}), ({NUMBER})\] %, "
            rf"WAR ({NUMBER}) \[({NUMBER}), ({NUMBER})\] %",
            line,
        )
        if match is not None:
            system, cue, source = match[1], match[2], match[3]
            for at, rate in ((4, "uar"), (7, "war")):
                numbers = match.groups()[at - 1 : at + 2]
                key = (system, cue, f"{source} {rate}")
                found |= {(n, *key): s for n, s in zip(("value", "low", "high"), numbers, strict=True)}
    return found


def of_understanding_table(run: ev.Run, files: Files) -> dict[Key, Shown]:
    found: dict[Key, Shown] = {}
    with (files.report / "tables" / "understanding.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            cue, rate, task = row["row"].split(", ")
            if row["state"] == "value" and row["block"] == "measured" and task == cue:
                rates = {"accuracy %": "war", "UAR %": "uar"}
                key = (re.sub(r" \((floor|ceiling)\)$", "", row["column"]), cue, f"named {rates[rate]}")
                found |= {(name, *key): float(row[name]) for name in ("value", "low", "high")}
    return found


def of_understanding_metric(run: ev.Run, _: Files) -> dict[Key, Shown]:
    frame = run.leaderboard().to_frame()
    found: dict[Key, Shown] = {}
    for row in frame[frame["metric"].isin(["understanding_uar", "understanding_war"])].to_dict("records"):
        if row["task"] != "all" and not pd.isna(row["value"]):
            rate = row["metric"].removeprefix("understanding_")
            for name in ("value", "low", "high"):
                found[name, row["system"], row["task"].partition("-asks-")[0], f"asked {rate}"] = row[name]
    return found


# -- shares of the ceiling, and systems within a margin of each other ------------------------------------


def of_share_frame(run: ev.Run, _: Files) -> dict[Key, Shown]:
    board = shown_view(run).board
    return {**from_share_rows(shown_view(run).to_frame()), **within(present(board.ranking.equivalence).pairs)}


def of_share_csv(run: ev.Run, files: Files) -> dict[Key, Shown]:
    return from_share_rows(pd.read_csv(files.board / "leaderboard.csv"))


def from_share_rows(frame: pd.DataFrame) -> dict[Key, Shown]:
    """Return the shares of a leaderboard's rows, to the decimals that other surfaces print."""
    rows = frame[frame["share"].notna()]
    return {
        (name, row["system"], row["task"], row["metric"]): row[name]
        for row in rows.to_dict("records")
        for name in ("share", "share_low", "share_high")
    }


def within(pairs: Iterable[Iterable[str]]) -> dict[Key, Shown]:
    """Return the margin of every pair of ranked systems, in the order shown; 0 of one that is not shown."""
    ranked = (CANDIDATE, "middling", BASELINE, "away", "text-only")
    found = set(map(tuple, pairs))
    assert found <= set(permutations(ranked, 2))
    return {("within", *pair): WITHIN * (pair in found) for pair in permutations(ranked, 2)}


def from_lines(run: ev.Run, text: str) -> dict[Key, Shown]:
    """Return the shares and the equivalent pairs in the lines below a table."""
    text = re.sub(r"\\([^\w\s])", r"\1", html.unescape(text)).replace("</p>", "\n").replace("<p>", "")
    (equivalent,) = set(
        re.findall(rf"Within ±{WITHIN} % of each other \(95 %[^)]*\): (.*)\.$", text, re.MULTILINE)
    )
    found = within(pair.split(" and ") for pair in equivalent.split("; "))
    titles = {metric.title: metric.name for metric in run.folder.manifest().metrics}
    blocks = set(re.findall(r"^(.*), share of the way .*?:\n+((?:- .*\n+)+)", text, re.MULTILINE))
    for title, lines in blocks:
        for line in filter(None, lines.splitlines()):
            system, average, tasks = present(
                re.match(r"- (\S+): (.*?)(?: on average)?; ([^;]*)", line)
            ).groups()
            cells = [("all", average), *(part.split(" ", 1) for part in re.split(r"(?<=[\]d]), ", tasks))]
            for task, numbers in cells:
                match = re.fullmatch(rf"({NUMBER}) \[({NUMBER}), ({NUMBER})\]", numbers)
                assert match is not None or numbers in ("tasks only", "undefined"), line
                key, names = (system, task, titles[title]), ("share", "share_low", "share_high")
                found |= {(n, *key): s for n, s in zip(names, match.groups() if match else (), strict=False)}
    return found


def said(text: Any) -> str:
    """Return the English of a text of the page's data: itself, or a template with its values."""
    if isinstance(text, str):
        return text
    return str(text["say"]).format(**{name: said(value) for name, value in text["with"].items()})


def of_share_page(run: ev.Run, files: Files) -> dict[Key, Shown]:
    board = page_data(files, "board")
    equivalent = board["equivalent"]["pairs"]
    line = f"Within ±{WITHIN} % of each other (95 %): {'; '.join(map(' and '.join, equivalent))}."
    shares = [said(text) for lines in board["shares"].values() for text in (*lines, "")]
    return from_lines(run, "\n".join([line, *shares]))


# -- rows ---------------------------------------------------------------------------------------


def row_key(system: str, task: str, sample: str, metric: str) -> Key:
    return ("row", f"{system}/{task}/{sample}", metric)


def of_rows(run: ev.Run, _: Files) -> dict[Key, Shown]:
    return {
        row_key(row[0], row[1], row[2], row[3]): None if pd.isna(row[4]) else row[4]
        for row in run.scores()[["system", "task", "sample_id", "metric", "value"]].itertuples(index=False)
    }


def of_score_file(run: ev.Run, _: Files) -> dict[Key, Shown]:
    rows = map(json.loads, (run.path / "scores.jsonl").read_text().splitlines())
    return {row_key(r["system"], r["task"], r["sample_id"], r["metric"]): r["value"] for r in rows}


def of_long_table(run: ev.Run, _: Files) -> dict[Key, Shown]:
    """Return the rows that compare and gate start from, of some systems: each is read by itself."""
    scored = {m.name for m in run.folder.manifest().metrics}
    found: dict[Key, Shown] = {}
    for name in (CANDIDATE, "middling", "away"):
        frame = load_scored_system(f"{run.path}:{name}").frame
        for row in frame[["system", "task", "sample_id", "metric", "value"]].itertuples(index=False):
            if row[3] in scored:
                found[row_key(row[0], row[1], row[2], row[3])] = None if pd.isna(row[4]) else row[4]
    return found


def of_provenance_rows(_: ev.Run, files: Files) -> dict[Key, Shown]:
    facts = json.loads((files.report / "provenance.json").read_text())
    return {
        row_key(system, task, sample, metric): value
        for number, metric, _state, value, *_rest in facts["scores"]
        for system, task, sample, *_ in [facts["responses"][number]]
    }


def of_page_details(_: ev.Run, files: Files) -> dict[Key, Shown]:
    index, found = page_data(files, "index"), {}
    tasks = [task["name"] for task in page_data(files, "board")["tasks"]]
    shard = page_data(files, "board")["shard"]
    for number, row in enumerate(index["rows"]):
        details = page_data(files, f"shard-{number // shard}")[number % shard]
        for system, reply in details["replies"].items():
            for score in reply["scores"]:
                found[row_key(system, tasks[row[0]], row[1], score["metric"])] = score["value"]
    return found


def of_page_index(_: ev.Run, files: Files) -> dict[Key, Shown]:
    """Return the numbers of the list of samples, with the digits that it shows."""
    board, index = page_data(files, "board"), page_data(files, "index")
    tasks = [task["name"] for task in board["tasks"]]
    digits = {metric["name"]: metric["digits"] for metric in board["metrics"]}
    return {
        row_key(system, tasks[row[0]], row[1], metric): f"{value:.{digits[metric]}f}"
        for metric, by_system in index["values"].items()
        for system, values in by_system.items()
        for row, value in zip(index["rows"], values, strict=True)
        if value is not None
    }


# -- the surfaces ---------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Files:
    """What the commands wrote and printed.

    Attributes:
        board, report: folders of `leaderboard --out` and `report --out`.
        printed, compared, gated: output of `leaderboard`, `compare` and `gate`.
        junit, summary: files of `gate`.
        decision: of the same gate, from the API.
    """

    board: Path
    report: Path
    printed: str
    compared: str
    gated: str
    junit: Path
    summary: Path
    decision: Any


LEVEL_SURFACES: dict[str, Callable[[ev.Run, Files], dict[Key, Shown]]] = {
    "API: leaderboard": of_frame,
    "leaderboard.csv": of_csv,
    "leaderboard.md": of_markdown,
    "terminal": of_terminal,
    "notebook text": of_notebook_text,
    "notebook HTML": of_notebook_html,
    "report CSV": of_report_csv,
    "report Markdown": of_report_markdown,
    "report LaTeX": of_report_latex,
    "provenance": of_provenance,
    "page": of_page,
    "API: scores": of_scores,
    "gate: levels": of_gate_levels,
    "gate: failed replies": of_baseline,
    "compare: trend": of_trend,
}
if shutil.which("node"):
    LEVEL_SURFACES["page as shown"] = of_page_as_shown
DIFFERENCE_SURFACES: dict[str, Callable[[ev.Run, Files], dict[Key, Shown]]] = {
    "API: compare": of_compare,
    "compare": of_compare_text,
    "API: gate": of_decision,
    "gate": of_gate_text,
    "JUnit": of_junit,
    "gate summary": of_summary,
    "report: ablation": of_ablation,
    "report: tests of marks": of_pair_tests,
}
RECALL_SURFACES: dict[str, Callable[[ev.Run, Files], dict[Key, Shown]]] = {
    "leaderboard notes": of_notes,
    "report: understanding": of_understanding_table,
    "leaderboard: understanding metrics": of_understanding_metric,
}
SHARE_SURFACES: dict[str, Callable[[ev.Run, Files], dict[Key, Shown]]] = {
    "API: leaderboard": of_share_frame,
    "leaderboard.csv": of_share_csv,
    "leaderboard.md": lambda run, files: from_lines(run, (files.board / "leaderboard.md").read_text()),
    "terminal": lambda run, files: from_lines(run, files.printed),
    "notebook text": lambda run, files: from_lines(run, str(shown_view(run))),
    "notebook HTML": lambda run, files: from_lines(run, shown_view(run)._repr_html_()),
    "report Markdown": lambda run, files: from_lines(
        run, "\n".join(path.read_text() for path in sorted((files.report / "tables").glob("*.md")))
    ),
    "page": of_share_page,
}
ROW_SURFACES: dict[str, Callable[[ev.Run, Files], dict[Key, Shown]]] = {
    "API: scores": of_rows,
    "scores.jsonl": of_score_file,
    "compare: table": of_long_table,
    "provenance": of_provenance_rows,
    "page: details": of_page_details,
    "page: list": of_page_index,
}
GROUPS = {
    "levels": LEVEL_SURFACES,
    "differences": DIFFERENCE_SURFACES,
    "recalls": RECALL_SURFACES,
    "shares": SHARE_SURFACES,
    "rows": ROW_SURFACES,
}


def policy(run: ev.Run) -> dict[str, Any]:
    """Return a policy with a limit on the level of every metric."""
    metrics: dict[str, Any] = {}
    for metric in sorted(run.folder.manifest().metrics, key=lambda m: not m.headline):
        # The questions about a cue were put to some systems only, and no system has a value of the others.
        if not metric.name.startswith("understanding"):
            metrics[metric.name] = {"at_least": -1.0} if metric.higher_is_better else {"at_most": 1e6}
    return {"margin": 5, "metrics": metrics}


def made_files(run: ev.Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    """Run every command on a run."""

    def invoke(command: Any, *words: object) -> str:
        done = CliRunner().invoke(command, list(map(str, words)), standalone_mode=False)
        assert done.exception is None, done.exception
        return done.output

    with monkeypatch.context() as patched:
        patched.setattr(terminal, "PIPE_WIDTH", 1000)
        printed = invoke(leaderboard_command, run.path, "--out", folder / "board", "--within", WITHIN)
    old, new = f"{run.path}:{BASELINE}", f"{run.path}:{CANDIDATE}"
    words = ["--only", "tables,page", "--ablation", BASELINE, "--within", WITHIN]
    invoke(report_command, run.path, "--out", folder / "report", *words)
    (folder / "gate.yaml").write_text(json.dumps(policy(run)))
    junit, summary = folder / "gate.xml", folder / "gate.md"
    words = ["--policy", folder / "gate.yaml", "--junit", junit, "--summary", summary]
    return Files(
        board=folder / "board",
        report=folder / "report",
        printed=printed,
        compared=invoke(compare_command, old, new),
        gated=invoke(gate_command, new, "--against", old, *words),
        junit=junit,
        summary=summary,
        decision=ev.gate(new, old, policy(run)),
    )


@pytest.fixture(scope="module")
def files(run: ev.Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Files]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield made_files(run, tmp_path_factory.mktemp("files"), monkeypatch)


Collect = Callable[[str], Surfaces]


@pytest.fixture(scope="module")
def collected(run: ev.Run, files: Files) -> Collect:
    """Return a function from a group to its surfaces, each of which is read once."""
    read = cache(lambda group: {name: read(run, files) for name, read in GROUPS[group].items()})
    return lambda group: dict(read(group))


@pytest.mark.parametrize("group", GROUPS)
def test_every_surface_has_the_same_numbers(collected: Collect, group: str) -> None:
    surfaces = collected(group)
    for name, found in surfaces.items():
        others = {key for other, keys in surfaces.items() if other != name for key in keys}
        assert len(set(found) & others) >= 2, f"{name} shares no number with another surface"
    lines = disagreements(surfaces)
    assert not lines, f"{len(lines)} numbers differ:\n" + "\n".join(lines)


# -- the comparison itself: a surface that computes on its own is named -----------------------------


#: Off in the twelfth digit.
EPSILON = 1 + 1e-12


def shifted(function: Callable[..., Any], factor: float) -> Callable[..., Any]:
    """Return a function whose estimates are off by a factor."""

    def off(*args: Any, **options: Any) -> Any:
        found = function(*args, **options)
        if isinstance(found, ImputedEstimates):
            first, *others = (e and replace(e, value=e.value * factor) for e in found.estimates)
            return replace(found, estimates=(first, others[0], others[1]))
        return replace(found, value=found.value * factor)

    return off


@pytest.mark.parametrize(
    ("group", "surface", "place", "factor"),
    [
        ("levels", "API: leaderboard", "echat_eval.leaderboard.build.level_mean", EPSILON),
        ("levels", "compare: trend", "echat_eval.analysis.trend.level_mean", EPSILON),
        ("recalls", "leaderboard: understanding metrics", "echat_eval.leaderboard.build.level_mean", 1.01),
        ("differences", "API: compare", "echat_eval.analysis.compare.difference", EPSILON),
        ("differences", "report: tests of marks", "echat_eval.report.marks.difference", EPSILON),
    ],
)
def test_a_surface_with_a_computation_of_its_own_is_named(
    run: ev.Run,
    files: Files,
    collected: Collect,
    monkeypatch: pytest.MonkeyPatch,
    group: str,
    surface: str,
    place: str,
    factor: float,
) -> None:
    surfaces = collected(group)
    path, name = place.rsplit(".", 1)
    module = importlib.import_module(path)
    monkeypatch.setattr(module, name, shifted(getattr(module, name), factor))
    surfaces[surface] = GROUPS[group][surface](run, files)
    lines = disagreements(surfaces)
    assert lines
    assert all(f"{surface} " in line for line in lines)


def test_a_printed_number_with_another_last_digit_is_named(collected: Collect) -> None:
    surfaces = collected("differences")
    key = ("difference", PAIR, "all", HEAD.name)
    text = surfaces["compare"][key]
    assert isinstance(text, str)
    surfaces["compare"] = {**surfaces["compare"], key: text[:-1] + str((int(text[-1]) + 1) % 10)}
    (line,) = disagreements(surfaces)
    assert line.startswith(" | ".join(key))
    assert "compare '" in line
    assert not disagreements({"a": {key: -0.001}, "b": {key: "+0.00"}, "c": {key: "0.0"}})
    assert disagreements({"a": {key: -0.001}, "b": {key: "-0.00"}})
