"""A page for a blind review holds nothing that leads to a system, a person, a machine or a path."""

from __future__ import annotations

import getpass
import shutil
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from echat_eval.cli.report import report
from echat_eval.errors import SystemFailure, UsageError
from echat_eval.io import jsonl
from echat_eval.io.hashing import file_sha256
from echat_eval.leaderboard.build import build_leaderboard
from echat_eval.ports import Silent
from echat_eval.records import AudioRef, Reply, Request
from echat_eval.report.anonymous_names import disguise_of
from echat_eval.report.human import human_means
from echat_eval.report.pack import build_report
from echat_eval.report.runs import merge_runs
from echat_eval.store.run_folder import RunFolder
from echat_eval.store.select import open_run
from echat_eval.testing import ScriptedSystem
from tests.support.report_runs import data_of, rated
from tests.support.scripted_world import make_run, make_task, marks_scorer, scripted_system

#: What must be in no byte of the page, in any case of letters.
SECRETS = (
    "zephyr-lab",
    "zephyr-9b",
    "stage7",
    "gpu7.lab.example.edu",
    "10.11.12.13",
    "node17:8000",
    "/home/ada",
    "ada@lab.example.edu",
    "ada-lovelace",
    "labfloor",
    "our-corpus",
    "made-in-cambridge",
    "runs-of-ada",
    "take-",
)
WORDS = (
    "I am Zephyr-Lab, weights zephyr-9b; see https://gpu7.lab.example.edu/v1?k=1, 10.11.12.13, node17:8000, "
    "/home/ada/ckpt/stage7.pt or ada@lab.example.edu. It is 12:30, and/or 3/4 of a kind."
)


@pytest.fixture(scope="module")
def secret_run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Return a run that names its authors wherever a run can: settings, texts, reasons, ids, audio, paths."""
    root = tmp_path_factory.mktemp("runs-of-ada")
    task = make_task(root / "tasks", "emotion", 4)
    samples = [
        replace(s, id=f"take-{s.id}", speaker="ada-lovelace", audio=_labelled(s.audio)) for s in task.samples
    ]
    task = replace(task, samples=tuple(samples), citation="Ada Lovelace, our-corpus")

    def respond(request: Request) -> Reply:
        if int(request.audio.sha256, 16) % 5 == 0:
            raise SystemFailure("https://gpu7.lab.example.edu/v1 refused: /home/ada/ckpt/stage7.pt")
        return Reply(text=WORDS, think=WORDS, perceived={"emotion": "sad"})

    settings = {"model": "lab/zephyr-9b", "args": ["/home/ada/ckpt/stage7.pt"], "voice": "warm"}
    mine = ScriptedSystem(respond, "Zephyr-Lab", fingerprint="1", settings=settings)
    floor = scripted_system("labfloor", 0.3, role="floor")
    canned = scripted_system("canned", 0.0, text="I am here.", role="floor")
    return make_run(root / "run", [task], [mine, floor, canned], scorers=[marks_scorer(reason=WORDS)])


def _labelled(audio: AudioRef) -> AudioRef:
    """Return a recording whose file states its artist."""
    note = b"INFOIART" + struct.pack("<I", 18) + b"made-in-cambridge\0"
    content = audio.path.read_bytes() + b"LIST" + struct.pack("<I", len(note)) + note
    path = audio.path.with_suffix(".labelled.wav")
    path.write_bytes(content[:4] + struct.pack("<I", len(content) - 8) + content[8:])
    return replace(audio, path=path, sha256=file_sha256(path))


def anonymous(run: RunFolder, out: Path, **more: Any) -> Path:
    build_report(
        [str(run.path)], out, progress=Silent(), only=["page"], anonymous=True, title="Of Zephyr-Lab", **more
    )
    return out / "page"


def test_no_file_has_a_name_or_a_place(secret_run: RunFolder, tmp_path: Path) -> None:
    build_report([str(secret_run.path)], tmp_path / "named", progress=Silent(), only=["page"])
    page = anonymous(secret_run, tmp_path / "blind")
    found = {
        name: [word for word in (*SECRETS, str(tmp_path)) if word.encode() in _everything(folder)]
        for name, folder in (("named", tmp_path / "named"), ("blind", page.parent))
    }
    assert found["blind"] == []
    assert set(SECRETS) - set(found["named"]) <= {"runs-of-ada"}, "the run itself names them"
    board = data_of(page, "board")
    assert [s["name"] for s in board["systems"]] == ["System A", "Floor A", "canned"]
    assert (board["title"], board["anonymous"]) == ("Of System A", True)
    sample = data_of(page, "shard-0")[0]
    assert (data_of(page, "index")["rows"][0][1], sample["speaker"]) == ("s1", "s1")
    rows = [
        row for d in data_of(page, "shard-0") for reply in d["replies"].values() for row in reply["scores"]
    ]
    assert {(row["key"], row["reason"]) for row in rows} == {("", None)}
    judged = [row["evidence"] for row in rows if "prompt_sha256" in row["evidence"]]
    assert judged
    assert not any(e[name] for e in judged for name in ("servers", "verdicts", "prompt_sha256"))
    reply = next(
        d["replies"]["System A"] for d in data_of(page, "shard-0") if "text" in d["replies"]["System A"]
    )
    assert reply["text"].endswith("It is 12:30, and/or 3/4 of a kind.")
    assert reply["text"].startswith("I am System A, weights [withheld]; see [withheld] [withheld], ")


def _everything(folder: Path) -> bytes:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return b"".join(str(f.relative_to(folder)).encode() + f.read_bytes() for f in files).lower()


def test_numbers_stay(secret_run: RunFolder, tmp_path: Path) -> None:
    board = build_leaderboard([secret_run])
    page = data_of(anonymous(secret_run, tmp_path / "out"), "board")
    names = disguise_of([secret_run]).names
    for (system, task, metric), summary in board.summaries.items():
        cell = page["cells"][metric][names.get(system, system)][task]
        assert cell["value"] == (None if summary.estimate is None else summary.estimate.value)


def test_people_rate_systems_under_their_letters(usual_run: RunFolder, tmp_path: Path) -> None:
    ratings = rated(usual_run, tmp_path / "ratings.csv")
    means, _ = human_means(ratings, merge_runs([usual_run]))
    page = data_of(anonymous(usual_run, tmp_path / "out", ratings=ratings), "board")
    cells, names = page["cells"]["people ratings"], disguise_of([usual_run]).names
    assert means
    for (system, task), mean in means.items():
        assert cells[names.get(system, system)][task]["value"] == mean.estimate.value


def test_letters_do_not_depend_on_names(usual_run: RunFolder) -> None:
    path = usual_run.path
    letters = disguise_of([usual_run]).names
    assert set(letters) == {"average", "careful", "text-only"}
    renamed = {name: f"{start}-{name[:4]}" for start, name in zip("zyx", sorted(letters), strict=True)}
    other = disguise_of([open_run(f"{new}={path}:{old}") for old, new in renamed.items()])
    assert other.names == {renamed[name]: letter for name, letter in letters.items()}
    backwards = disguise_of([open_run(f"{path}:{name}") for name in sorted(letters, reverse=True)])
    assert backwards.names == letters


def test_lists_of_the_page_have_the_order_of_letters(usual_run: RunFolder, tmp_path: Path) -> None:
    board = data_of(anonymous(usual_run, tmp_path / "out", within=50.0), "board")
    names = [system["name"] for system in board["systems"]]
    assert names == ["System A", "System B", "System C", *names[3:]]
    assert board["equivalent"]["pairs"] == sorted(board["equivalent"]["pairs"])
    assert board["equivalent"]["pairs"]


def test_words_of_floors_and_of_every_language_stay(usual_run: RunFolder) -> None:
    hidden = disguise_of([usual_run])
    text = f"a reference, canned; {getpass.getuser()}"
    assert hidden.text(text).startswith("a reference, canned; ")
    letter = hidden.names["careful"]
    assert hidden.value({"careful": [1, "Careful!", None]}) == {"careful": [1, f"{letter}!", None]}


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("happy", "an ordinary word"),
        ("replies", "an ordinary word"),
        ("emotion", "an ordinary word"),
        ("letter", "in the words of the samples"),
        ("r1", "fewer than 3 letters"),
    ],
)
def test_a_name_that_is_a_word_is_refused(tmp_path: Path, name: str, problem: str) -> None:
    task = make_task(tmp_path / "tasks", "emotion", 1)
    run = make_run(tmp_path / "run", [task], [scripted_system(name, 0.5, text="A happy letter, r1.")])
    with pytest.raises(UsageError, match=f"'{name}': .*{problem}.*NAME=RUN:{name}"):
        build_report([str(run.path)], tmp_path / "no", progress=Silent(), only=["page"], anonymous=True)
    made = build_report(
        [f"other={run.path}:{name}"], tmp_path / "out", progress=Silent(), only=["page"], anonymous=True
    )
    assert any(f"not searched for the name '{name}'" in note for note in made.notes)
    page = tmp_path / "out" / "page"
    details = data_of(page, "shard-0")[0]
    assert details["replies"]["System A"]["text"] == "A happy letter, r1."
    assert details["replies"]["System A"]["perceived"].keys() == {"emotion", "age"}
    assert [task["name"] for task in data_of(page, "board")["tasks"]] == ["emotion"]


def test_a_judge_that_only_its_users_know_has_a_letter(usual_run: RunFolder, tmp_path: Path) -> None:
    shutil.copytree(usual_run.path, tmp_path / "run")
    manifest = jsonl.loads((tmp_path / "run" / "manifest.json").read_bytes())
    marks = manifest["scorers"].pop("marks")
    for model, kept in (("gpt-4o", "judge_r0"), ("lab/acme-70b", "judge_a")):
        manifest["scorers"]["judged:r0"] = marks | {"settings": {"model": model}}
        (tmp_path / "run" / "manifest.json").write_text(jsonl.dumps(manifest))
        page = anonymous(RunFolder(tmp_path / "run"), tmp_path / kept)
        board = data_of(page, "board")
        rows = [r for d in data_of(page, "shard-0") for x in d["replies"].values() for r in x["scores"]]
        assert kept in board["cells"]
        title = "Judge r0" if kept == "judge_r0" else "Judge A"
        assert (kept, title) in {(m["name"], m["title"]) for m in board["metrics"]}
        assert kept in {row["metric"] for row in rows}
        assert kept in data_of(page, "index")["values"]
        models = {m for row in rows if row["metric"] == kept for m in row["evidence"].get("models", ())}
        assert models == {"Judge A"}, "served by a model that no price list has"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"only": ["page", "tables"]}, "only the page can be anonymous"),
        ({"only": ["page"], "authors": "Ada"}, "--authors with --anonymous: it names systems or people"),
        ({"only": ["page"], "with_published": True}, "--published with --anonymous: it names systems"),
    ],
)
def test_other_parts_and_authors_are_refused(
    usual_run: RunFolder, tmp_path: Path, more: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        build_report([str(usual_run.path)], tmp_path / "out", progress=Silent(), anonymous=True, **more)
    assert not (tmp_path / "out").exists()


def test_a_folder_with_a_named_report_is_refused(usual_run: RunFolder, tmp_path: Path) -> None:
    build_report([str(usual_run.path)], tmp_path / "out", progress=Silent(), only=["tables"])
    with pytest.raises(UsageError, match=r"holds .*provenance.json, .*tables .*not anonymous"):
        anonymous(usual_run, tmp_path / "out")


def test_the_command_names_what_its_options_leave_out(secret_run: RunFolder, tmp_path: Path) -> None:
    def notes(*options: str) -> str:
        result = CliRunner().invoke(report, [str(secret_run.path), "--out", str(tmp_path / "out"), *options])
        assert result.exit_code == 0, result.output
        return result.stderr

    assert "note: --anonymous makes the page alone: tables, figures" in notes("--anonymous")
    assert "makes the page alone" not in notes("--anonymous", "--only", "page")
    assert "note: --title and --authors: without effect, because --only tables leaves out the page" in notes(
        "--only", "tables", "--title", "A title", "--authors", "Ada", "--out", str(tmp_path / "tables")
    )
