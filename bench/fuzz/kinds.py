"""Kinds of input, and the commands that read them."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["KINDS", "Kind"]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of input.

    Attributes:
        folders: what is copied from the world; the case works on the copy.
        targets: patterns below the copy; one of the files is mutated.
        commands: functions of the copy that return the words of a command.
    """

    folders: Sequence[str]
    targets: Sequence[str]
    commands: Sequence[Callable[[Path], list[str]]]

    def prepare(self, world: Path, case: Path) -> None:
        """Copy what the commands read."""
        for name in self.folders:
            source, target = world / name, case / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target)
            else:
                shutil.copy(source, target)

    def target(self, case: Path, dice: random.Random) -> Path | None:
        """Return the file to mutate, or None if none is left.

        A pattern is drawn first, so that many sounds weigh no more than a table.
        """
        files = [sorted(path for path in case.glob(name) if path.is_file()) for name in self.targets]
        left = [found for found in files if found]
        return dice.choice(dice.choice(left)) if left else None


#: Of every run: nothing of this machine's cache, and no second try, which would only cost time.
_RUN = ("--annotator", "acoustics", "--no-cache", "--tries", "1")


def _run(*words: str, data: bool = True) -> Callable[[Path], list[str]]:
    def command(case: Path) -> list[str]:
        filled = [word.replace("@", f"{case}/") for word in words]
        return ["run", "--data", str(case / "data"), *filled, *_RUN, "--out", str(case / "out")]

    return command


def _words(*words: str) -> Callable[[Path], list[str]]:
    return lambda case: [word.replace("@", f"{case}/") for word in words]


def _import(form: str, folder: str | None = None) -> Kind:
    folder_of_form = f"import/{folder or form}"
    rows = [f"{folder_of_form}/**/*.{ending}" for ending in ("list", "jsonl", "json", "tar")]
    command = _words(
        *(
            "import",
            form,
            f"@{folder_of_form}",
            "--out",
            "@task",
            "--language",
            "en",
            "--source",
            "synthetic",
        ),
        *("--cue", "emotion"),
    )
    return Kind(
        folders=[folder_of_form], targets=[*rows, *rows, f"{folder_of_form}/wav/*.wav"], commands=[command]
    )


_READERS = (
    _words("leaderboard", "@run"),
    _words("compare", "@run:canned", "@run:mine"),
    _words("gate", "@run:canned", "--against", "@run:mine", "--policy", "@policy.yaml"),
    _words("gate", "accept", "@run:mine", "--to", "@kept"),
    _words("report", "@run", "--out", "@report", "--only", "tables"),
    _words("report", "@run", "--out", "@report", "--only", "page"),
    _words("rate", "export", "@run", "--out", "@sheet"),
    lambda case: ["score", str(case / "run"), *_RUN],
    lambda case: [*_run("--system", "canned")(case)[:-1], str(case / "run")],
)
_TABLES = (
    _words("compare", "@tables/a.csv", "@tables/b.csv", "--metric", "empathy=higher"),
    _words("compare", "@tables/a.tsv", "@tables/b.tsv", "--metric", "empathy=higher"),
    _words("compare", "@tables/a.jsonl", "@tables/b.jsonl", "--metric", "wer=lower"),
    _words("gate", "@tables/a.csv", "--against", "@tables/b.csv", "--policy", "@policy.yaml"),
    _words("gate", "@tables/a.jsonl", "--against", "@tables/b.jsonl", "--policy", "@policy.yaml"),
)
_SERVER = "{url}"  # filled in by the case that starts the server

KINDS: dict[str, Kind] = {
    "task": Kind(
        folders=["data"],
        targets=[
            "data/emotion/*.yaml",
            "data/emotion/*.jsonl",
            "data/emotion/*.jsonl",
            "data/emotion/audio/*",
        ],
        commands=[
            _words("check", "task", "@data/emotion"),
            _run("--system", "canned"),
            _run("--system", "reference", "--ask", "emotion"),
            _words("export", "requests", "--data", "@data", "--out", "@requests"),
        ],
    ),
    "replies": Kind(
        folders=["data", "replies"],
        targets=["replies/*.jsonl", "replies/*.jsonl", "replies/*.jsonl", "replies/*.wav"],
        commands=[
            _run("--system", "mine=replay:@replies/replies.jsonl"),
            _run("--system", "mine=replay:@replies/replies.jsonl", "--ask", "emotion"),
        ],
    ),
    "reply files": Kind(
        folders=["data", "folder"],
        targets=["folder/*.wav", "folder/*.txt"],
        commands=[_run("--system", "mine=replay:@folder")],
    ),
    "lines": Kind(
        folders=["data", "lines"],
        targets=["lines/lines.jsonl"],
        commands=[
            _run(
                *("--system", "mine=command:sh -c 'cat @lines/lines.jsonl; cat > /dev/null'"),
                *("--set", "batch_size=4", "--set", "timeout=0.2", "--set", "start_timeout=0.4"),
            )
        ],
    ),
    "stdout": Kind(
        folders=["data", "stdout"],
        targets=["stdout/stdout.txt"],
        commands=[_run("--system", "mine=command:cat @stdout/stdout.txt {audio}", "--set", "timeout=0.5")],
    ),
    "http replies": Kind(
        folders=["data", "lines"],
        targets=["lines/lines.jsonl"],
        commands=[_run("--system", f"mine={_SERVER}/reply", "--set", "timeout=1")],
    ),
    "chat replies": Kind(
        folders=["data"],
        targets=["data/answer.json"],
        commands=[
            _run("--system", "mine=openai-chat:chat", "--set", f"url={_SERVER}/v1", "--set", "timeout=2")
        ],
    ),
    "verdicts": Kind(
        folders=["data"],
        targets=["data/answer.json", "data/verdict.json"],
        commands=[
            _run(
                "--system",
                "reference",
                "--judge",
                "judge",
                "--judge-url",
                f"{_SERVER}/v1",
                "--judge-timeout",
                "2",
            ),
            _run(
                *("--system", "reference", "--judge", "judge", "--judge-url", f"{_SERVER}/v1"),
                *("--judge-prose", "--judge-timeout", "2"),
            ),
        ],
    ),
    "tables": Kind(folders=["tables", "policy.yaml"], targets=["tables/a.*", "tables/b.*"], commands=_TABLES),
    "policies": Kind(folders=["tables", "policy.yaml"], targets=["policy.yaml"], commands=_TABLES[3:]),
    "prices": Kind(
        folders=["data", "prices.yaml"],
        targets=["prices.yaml"],
        commands=[
            _run(
                *("--system", "reference", "--judge", "judge", "--judge-url", f"{_SERVER}/v1"),
                *("--prices", "@prices.yaml", "--max-cost", "5"),
            ),
            _run(
                *("--system", "reference", "--judge", "judge", "--judge-url", f"{_SERVER}/v1"),
                *("--prices", "@prices.yaml", "--estimate"),
            ),
        ],
    ),
    "ratings": Kind(
        folders=["rating", "run"],
        targets=["rating/*.json", "rating/sheet.key.json", "rating/ratings.csv"],
        commands=[
            _words(
                *(
                    "rate",
                    "import",
                    "--key",
                    "@rating/sheet.key.json",
                    "@rating/ann.json",
                    "@rating/ben.json",
                ),
                *("--out", "@ratings.csv"),
            ),
            _words(
                "report", "@run", "--out", "@report", "--only", "tables", "--ratings", "@rating/ratings.csv"
            ),
            _words("check", "judge", "--ratings", "@rating/ratings.csv", "--run", "@run"),
        ],
    ),
    "manifests": Kind(
        folders=["run", "policy.yaml", "data"], targets=["run/manifest.json"], commands=_READERS
    ),
    "run folders": Kind(
        folders=["run", "policy.yaml", "data"],
        targets=[
            *(f"run/{n}.jsonl" for n in ("samples", "responses", "annotations", "scores")),
            "run/*.jsonl",
            "run/*/*",
        ],
        commands=_READERS,
    ),
    "verdict files": Kind(
        folders=["run", "data"],
        targets=["run/verdicts*.jsonl", "run/verdicts.jsonl", "run/spending.jsonl", "run/controls.jsonl"],
        commands=[
            _words("leaderboard", "@run"),
            lambda case: [
                *("score", str(case / "run"), "--judge", "judge", "--judge-url", f"{_SERVER}/v1", *_RUN)
            ],
        ],
    ),
    "experiments": Kind(
        folders=["data", "experiment.yaml", "run"],
        targets=["experiment.yaml", "experiment.yaml", "run/experiment.yaml", "run/commands.jsonl"],
        commands=[
            _words("run", "@experiment.yaml", "--data", "@data", "--out", "@out"),
            _words("run", "@experiment.yaml", "--data", "@data", "--out", "@out", "--estimate"),
            _words("run", "@run", *_RUN),
            _words("run", "@run", "--data", "@data", "--set", "canned.text=Oh.", *_RUN),
            _words("show", "@"),
        ],
    ),
    "baselines": Kind(
        folders=["accepted", "run", "policy.yaml"],
        targets=["accepted/*.json", "accepted/*.jsonl", "accepted/*"],
        commands=[
            _words("gate", "@run:canned", "--against", "@accepted", "--policy", "@policy.yaml"),
            _words("compare", "@accepted", "@run:canned"),
        ],
    ),
    "clips": Kind(
        folders=["clips"],
        targets=["clips/*.jsonl", "clips/*.jsonl", "clips/*.wav"],
        commands=[_words("check", "annotators", "--data", "@clips/clips.jsonl", "--annotator", "acoustics")],
    ),
    "import echat": _import("echat"),
    "import echat tar": _import("echat", "echat-tar"),
    **{
        f"import {form}": _import(form)
        for form in ("echomind", "vocalbench", "televal", "sd-eval", "humdial")
    },
}
