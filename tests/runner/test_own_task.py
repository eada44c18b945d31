"""A task with a cue of its own in English, German and Japanese, from the run to the notes and tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import echat_eval as ev
from echat_eval.errors import BadData
from echat_eval.leaderboard.notes import secondary_lines
from echat_eval.records import Reply, Request
from echat_eval.report.figure_attribution import confusion_of
from echat_eval.report.page_data import board_data
from echat_eval.report.runs import MergedRuns, merge_runs
from echat_eval.report.tables import understanding_table
from echat_eval.store.run_folder import RunFolder
from echat_eval.testing import ScriptedChatServer, ScriptedSystem, judge_verdict, prompt_of, shown_to_judge
from tests.support.own_task import TASK_YAML, WORDS, write_own_task
from tests.support.present import present

REPLIES = {"en": "Ha, sure.", "de": "Haha, schon klar.", "ja": "はは、そうですね。"}
ANSWERS = {"en": "It is ironic.", "de": "Spöttisch!", "ja": "皮肉です"}


def respond(request: Request) -> Reply:
    """Hear sarcasm in every voice; answer questions in words, and name the label of a reply."""
    if request.instruction is None:
        return Reply(text=REPLIES[request.language], perceived={"sarcasm": "sarcastic"})
    if "Write down" in request.instruction:
        return Reply(text=WORDS[request.language][0])
    return Reply(text=ANSWERS[request.language])


@pytest.fixture(scope="module")
def prompts() -> list[str]:
    return []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, prompts: list[str]) -> RunFolder:
    def judged(request: dict[str, Any]) -> str:
        prompts.append(prompt_of(request))
        return judge_verdict(4, 5 if "sarcastic" in shown_to_judge(request)["cues"] else 1, 3)

    root = tmp_path_factory.mktemp("own")
    data = write_own_task(root)
    system = ScriptedSystem(respond, name="mine")
    out = root / "run"
    with ScriptedChatServer(judged) as server:
        ev.evaluate(
            [system, "canned", "label-parrot", "wrong-language"],
            tasks="irony",
            data=data,
            judges={"model": "scripted", "url": server.url},
            scorers=["outcome"],
            out=out,
            cache=False,
        )
    for ask in ("sarcasm", "transcript"):
        ev.evaluate(
            system, tasks={"name": "irony", "data": data, "ask": ask}, scorers="understanding", annotators=[],
            out=out, cache=False,
        )  # fmt: skip
    return RunFolder(out)


@pytest.fixture(scope="module")
def merged(folder: RunFolder) -> MergedRuns:
    return merge_runs([folder])


def test_parts_that_cannot_handle_a_language_are_not_applicable(folder: RunFolder) -> None:
    states: dict[tuple[str, str], set[str]] = {}
    for (system, task, sample), row in folder.responses().items():
        if task == "irony":
            states.setdefault((system, sample[:2]), set()).add(row.state)
    assert {key for key, found in states.items() if found == {"not applicable"}} == {
        ("canned", "de"),
    }
    assert {key for key, found in states.items() if found == {"value"}} == set(states) - {
        ("canned", "de"),
    }


def test_the_judge_is_given_the_language_and_the_guide(folder: RunFolder, prompts: list[str]) -> None:
    started = [text.split(",")[0] for text in prompts if text.startswith("The speaker speaks")]
    assert set(started) == {"The speaker speaks German", "The speaker speaks Japanese"}
    requested = [text for text in prompts if text.startswith(("The speaker speaks", "You grade"))]
    assert all("- sarcasm: play along with sarcasm" in text for text in requested)


def test_notes_have_recognition_and_the_normaliser(folder: RunFolder) -> None:
    headline = next(metric for metric in folder.manifest().metrics if metric.name == "understanding_war")
    lines = secondary_lines([folder], headline)
    named = "- mine perceives sarcasm (named in its replies): UAR 50.0"
    requested = "- mine perceives sarcasm (asked afterwards): UAR 50.0"
    for start in (named, requested):
        line = next(line for line in lines if line.startswith(start))
        assert line.endswith("right: sincere 0 of 6, sarcastic 6 of 6")
    assert (
        "- error rates (WER, CER): text is normalised by echat-norm-1; characters are counted in ja; words are "
        "counted in de, en"
    ) in lines


def test_error_rates_count_characters_in_japanese(folder: RunFolder) -> None:
    counted = {
        (score.sample_id[:2], score.metric)
        for score in folder.scores().values()
        if score.task == "irony-asks-transcript" and score.state == "value" and "er" in score.metric[-2:]
    }
    assert counted == {("en", "understanding_wer"), ("de", "understanding_wer"), ("ja", "understanding_cer")}


def test_tables_figures_and_page_have_the_cue(merged: MergedRuns) -> None:
    assert list(merged.cues)[-1] == "sarcasm"
    rows = [row.label for row in present(understanding_table(merged)).blocks[0].rows]
    assert rows == ["sarcasm, accuracy %, irony", "sarcasm, UAR %, irony"]
    assert confusion_of(merged, "sarcasm")["mine"]["sincere", "sarcastic"] == 6
    labels = board_data(merged, (), ())["labels"]
    assert labels == [{"cue": "sarcasm", "labels": ["sincere", "sarcastic"]}]


def test_another_meaning_of_a_cue_in_the_same_run_is_refused(tmp_path: Path) -> None:
    write_own_task(tmp_path)
    write_own_task(tmp_path, TASK_YAML.replace("[sincere, sarcastic]", "[sarcastic, sincere]"), "banter")
    arguments: dict[str, Any] = {"data": tmp_path, "scorers": "outcome", "annotators": [], "cache": False}
    with pytest.raises(BadData, match="tasks 'banter' and 'irony' define the cue 'sarcasm' differently"):
        ev.evaluate("canned", tasks=["banter", "irony"], out=tmp_path / "both", **arguments)
    ev.evaluate("canned", tasks="irony", out=tmp_path / "run", **arguments)
    with pytest.raises(BadData, match="tasks 'irony' and 'banter' define the cue 'sarcasm' differently"):
        ev.evaluate("canned", tasks="banter", out=tmp_path / "run", **arguments)


def test_a_perceived_label_must_be_one_of_the_tasks(tmp_path: Path) -> None:
    run = ev.evaluate(
        ScriptedSystem(Reply(text="Well.", perceived={"sarcasm": "dry"})), tasks="irony",
        data=write_own_task(tmp_path), scorers="outcome", annotators=[], out=tmp_path / "run", tries=1, cache=False,
    )  # fmt: skip
    reasons = {row.reason for row in RunFolder(run.path).responses().values()}
    assert reasons == {"perceived 'sarcasm' 'dry' is not one of the task's labels"}
