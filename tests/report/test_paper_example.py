"""The example of a paper: one command makes runs, tables and figures, and a second one what is missing."""

from __future__ import annotations

import importlib.util
import json
import runpy
from pathlib import Path
from types import ModuleType

import pytest

from echat_eval.judge.client import IDENTITY_PROMPT
from echat_eval.judge.question import Question, render
from echat_eval.judge.rubric import load_judge
from echat_eval.store.run_folder import RunFolder
from echat_eval.task import load_task
from echat_eval.testing.servers import prompt_of, text_of

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "examples" / "paper" / "build.py"


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the example as a module, with judges on a port of its own."""
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(str(PROGRAM.parent))
    spec = importlib.util.spec_from_file_location("paper_build", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.assets
def test_the_scripted_judge_grades_what_a_reply_answers(example: ModuleType) -> None:
    """People's reply to this voice, to the other voice with the same words, and one that fits neither."""
    samples = load_task("emotion").samples
    own = next(s for s in samples if s.cues == {"emotion": "happy"} and s.language == "en")
    other = next(s for s in samples if s.contrast_group == own.contrast_group and s is not own)
    judge, rubric = example.SimilarityJudge(samples), load_judge("echat-r1")

    def graded(reply: str, cues: dict[str, str]) -> dict[str, int]:
        question = Question(task="emotion", language="en", transcript=own.transcript, cues=cues, reply=reply)
        prompt = render(rubric, question)
        grades: dict[str, int] = json.loads(judge({"messages": [{"role": "user", "content": prompt.text}]}))
        return grades

    fits, misses = (graded(s.references[0], dict(own.cues)) for s in (own, other))
    assert fits["cue_awareness"] == fits["content"] == 5
    assert misses["cue_awareness"] == 1
    assert graded(own.references[0], dict(other.cues))["cue_awareness"] == 1
    assert graded("The invoice is due on Monday.", dict(own.cues))["content"] < 3


@pytest.mark.assets
def test_one_command_builds_the_pack_and_a_second_one_resumes(example: ModuleType, tmp_path: Path) -> None:
    text = example.EXPERIMENT.read_text(encoding="utf-8")
    # Two commands of the suite may run at once, so the port is a free one here.
    with example.scripted_judges(example.EXPERIMENT, port=0) as server:
        experiment = tmp_path / "experiment.yaml"
        text = text.replace("controls: 400", "controls: 40")
        experiment.write_text(
            text.replace(f"http://127.0.0.1:{example.PORT}/v1", server.url), encoding="utf-8"
        )
        options = {
            "experiment": experiment,
            "limit": 2,
            "tasks": ["emotion"],
            "parts": ("tables",),
            "served": True,
        }
        out = tmp_path / "paper"
        made = example.build(out, **options)
        assert all(path.exists() for path in made)
        requested = len(server.requests)
        run = RunFolder(out / "run")
        before = run.responses()
        example.build(out, **{**options, "parts": ()})
        assert run.responses() == before
        # Verdicts are kept; a command asks for the server's identity only.
        assert all(text_of(prompt_of(r)) == IDENTITY_PROMPT for r in server.requests[requested:])
    table = (out / "pack" / "tables" / "ablation.md").read_text(encoding="utf-8")
    for row in (
        "Listener",
        "without thinking",
        "muted audio",
        "noisy audio",
        "words-only",
        "shuffled-labels",
    ):
        assert row in table
    names = {path.stem for path in (out / "pack" / "tables").glob("*.tex")}
    assert {"leaderboard", "by-task-judge_second", "ablation", "overview"} <= names
    assert r"\begin{table*}" in (out / "pack" / "tables" / "leaderboard.tex").read_text(encoding="utf-8")
    assert (out / "parquet" / "scores.parquet").is_file()


def test_each_end_of_the_program_has_one_line_and_a_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a-file").touch()

    def ended(*given: str) -> tuple[object, str]:
        monkeypatch.setattr("sys.argv", ["build.py", "--served", "--out", str(tmp_path / "out"), *given])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(PROGRAM), run_name="__main__")
        shown = capsys.readouterr().err
        assert "Traceback" not in shown
        return end.value.code, shown

    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(str(PROGRAM.parent))
    for given, line in (
        (("--limit", "1", "--task", "emotion"), "give --limit 2 or more"),
        (("--task", "gendr"), "Did you mean 'gender'?"),
        (("--experiment", "none.yaml"), "none.yaml: cannot be read"),
        (("--out", str(tmp_path / "a-file"), "--limit", "2", "--task", "emotion"), "cannot be written"),
    ):
        code, shown = ended(*given)
        assert (code, line in shown) == (2, True), shown

    def interrupted(*given: object, **named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("echat_eval.evaluate", interrupted)
    assert ended() == (130, "echat-eval: interrupted; run the same command to continue\n")
