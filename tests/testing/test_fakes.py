"""The scripted parts answer as prescribed, record what they receive, and carry a run through all stages."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from echat_eval.clients.chat import ChatClient
from echat_eval.concurrency import event_loop
from echat_eval.concurrency.retry import RetryPolicy
from echat_eval.errors import NotApplicable, SystemFailure, Unavailable, UsageError
from echat_eval.judge.client import IDENTITY_PROMPT
from echat_eval.ports import (
    Annotator,
    BatchAnnotator,
    BatchSystem,
    Case,
    FamilyScorer,
    LanguageLimited,
    Oracle,
    RoleMarked,
    Scorer,
    Silent,
    System,
)
from echat_eval.records import Metric, Reply, Request, Score
from echat_eval.runner.evaluate import evaluate
from echat_eval.store.manifest import RunSettings
from echat_eval.store.run_folder import RunFolder
from echat_eval.task import load_task
from echat_eval.testing import (
    ScriptedAnnotator,
    ScriptedChatClient,
    ScriptedChatServer,
    ScriptedOracle,
    ScriptedScorer,
    ScriptedServer,
    ScriptedSystem,
    judge_verdict,
    prompt_of,
    scorer_cases,
    shown_to_judge,
    tone_requests,
)

# -- systems ------------------------------------------------------------------------


@pytest.fixture
def queries(tmp_path: Path) -> list[Request]:
    return tone_requests(tmp_path, count=3)


@pytest.mark.parametrize(
    ("answers", "texts"),
    [
        ("Oh.", ["Oh."] * 3),
        (Reply(text="Oh.", think="hm"), ["Oh."] * 3),
        (["a", Reply(text="b"), "c"], ["a", "b", "c"]),
        ({"check-0": "zero", "check-2": "two", "check-1": "one"}, ["zero", "one", "two"]),
        (lambda request: request.id, ["check-0", "check-1", "check-2"]),
        (lambda request: Reply(text=request.id), ["check-0", "check-1", "check-2"]),
    ],
    ids=["text", "reply", "list", "mapping", "function of text", "function"],
)
def test_system_answers_as_prescribed(queries: list[Request], answers: Any, texts: list[str]) -> None:
    system = ScriptedSystem(answers)
    assert [system.respond(query).text for query in queries] == texts
    assert system.requests == queries
    assert system.call_sizes == [1, 1, 1]


def test_errors_in_answers_are_raised(queries: list[Request]) -> None:
    system = ScriptedSystem(["a", SystemFailure("no voice"), "c"])
    assert system.respond(queries[0]).text == "a"
    with pytest.raises(SystemFailure, match="no voice"):
        system.respond(queries[1])
    assert system.respond(queries[2]).text == "c"
    with pytest.raises(NotApplicable):
        ScriptedSystem(NotApplicable("never")).respond(queries[0])


def test_failures_come_before_the_answers(queries: list[Request]) -> None:
    system = ScriptedSystem("fine", failures=[Unavailable("429"), SystemFailure("out of memory")])
    for error in (Unavailable, SystemFailure):
        with pytest.raises(error):
            system.respond(queries[0])
    assert system.respond(queries[0]).text == "fine"
    assert len(system.requests) == 3


@pytest.mark.parametrize(
    ("answers", "message"),
    [(["a"], "1 answers and received another"), ({"check-0": "a"}, "no answer to request 'check-1'")],
)
def test_missing_answer_is_an_error_that_stops_a_run(
    queries: list[Request], answers: Any, message: str
) -> None:
    system = ScriptedSystem(answers)
    assert system.respond(queries[0]).text == "a"
    with pytest.raises(UsageError, match=message):
        system.respond(queries[1])


def test_anything_else_that_a_function_returns_is_passed_on(queries: list[Request]) -> None:
    assert ScriptedSystem(lambda request: 3).respond(queries[0]) == 3
    assert ScriptedSystem(lambda request: None).respond(queries[0]) is None


def test_async_system_waits_on_the_event_loop(queries: list[Request]) -> None:
    async def answer(request: Request) -> str:
        return f"async {request.id}"

    system = ScriptedSystem(answer, calls_at_once=3, seconds=0.05)
    started = time.monotonic()

    async def ask_all() -> list[Reply]:
        import asyncio

        return list(await asyncio.gather(*[system.respond(query) for query in queries]))

    replies = event_loop.run(ask_all())
    assert [reply.text for reply in replies] == ["async check-0", "async check-1", "async check-2"]
    assert system.max_busy == 3
    assert 0.05 <= time.monotonic() - started < 5
    fixed = ScriptedSystem("fixed", asynchronous=True)
    assert event_loop.call(fixed.respond, queries[0]).text == "fixed"


def test_delay_and_concurrency_are_counted(queries: list[Request]) -> None:
    barrier = threading.Barrier(3, timeout=20)

    def together(request: Request) -> str:
        barrier.wait()
        return "done"

    system = ScriptedSystem(together, seconds=lambda request: 0.01)
    with ThreadPoolExecutor(3) as pool:
        replies = list(pool.map(system.respond, queries))
    assert [reply.text for reply in replies] == ["done"] * 3
    assert system.max_busy == 3
    system.answers = "alone"
    system.respond(queries[0])
    assert system.max_busy == 3


def test_batches_are_offered_only_on_demand(queries: list[Request]) -> None:
    assert not isinstance(ScriptedSystem(), BatchSystem)
    system = ScriptedSystem(lambda request: request.id, batch_size=2)
    assert isinstance(system, BatchSystem)
    assert [reply.text for reply in system.respond_batch(queries[:2])] == ["check-0", "check-1"]
    assert system.call_sizes == [2]
    assert not isinstance(ScriptedAnnotator({}), BatchAnnotator)
    assert isinstance(ScriptedAnnotator({}, batch_size=3), BatchAnnotator)


def test_fakes_satisfy_their_ports_and_abilities_on_demand() -> None:
    assert isinstance(ScriptedSystem(), System)
    assert isinstance(ScriptedOracle(lambda sample: "x"), Oracle)
    assert isinstance(ScriptedAnnotator({}), Annotator)
    assert isinstance(ScriptedScorer(), Scorer)
    assert not isinstance(ScriptedSystem(), RoleMarked)
    assert isinstance(ScriptedSystem(role="floor"), RoleMarked)
    assert not isinstance(ScriptedAnnotator({}), LanguageLimited)
    assert isinstance(ScriptedAnnotator({}, languages=("en",)), LanguageLimited)
    assert not isinstance(ScriptedScorer(), FamilyScorer)
    assert isinstance(ScriptedScorer(families=("understanding",)), FamilyScorer)


def test_identity_is_what_the_test_gives() -> None:
    system = ScriptedSystem(name="mine", fingerprint=None, settings={"temperature": 1})
    assert (system.name, system.fingerprint(), system.settings()) == ("mine", None, {"temperature": 1})
    system.fingerprint_value = "weights-2"
    system.settings_value = {}
    assert (system.fingerprint(), system.settings()) == ("weights-2", {})


# -- annotators and scorers -----------------------------------------------------------


def test_annotator_gives_the_prescribed_values(queries: list[Request]) -> None:
    audio = [query.audio for query in queries]
    fixed = ScriptedAnnotator({"emotion": "sad"})
    assert fixed.annotate(audio[0], language="en") == {"emotion": "sad"}
    listed = ScriptedAnnotator([{"n": 1}, NotApplicable("not this one")])
    assert listed.annotate(audio[0], language="en") == {"n": 1}
    with pytest.raises(NotApplicable, match="not this one"):
        listed.annotate(audio[1], language="en")
    with pytest.raises(UsageError, match="2 values and received another"):
        listed.annotate(audio[2], language="en")
    by_audio = ScriptedAnnotator(lambda audio, language: {"s": audio.seconds, "l": language}, batch_size=2)
    assert by_audio.annotate_batch(audio[:2], language="zh") == [{"s": 0.8, "l": "zh"}] * 2
    assert by_audio.audios == audio[:2]
    assert by_audio.call_sizes == [2]


def test_scorer_scores_replies_and_passes_states_on() -> None:
    scorer = ScriptedScorer(lambda case: len(str(getattr(case.response.reply, "text", ""))), "length")
    for state, expected in (("value", 11), ("failed", 0), ("missing", None), ("not applicable", None)):
        case = scorer_cases(state=state)[0]  # type: ignore[arg-type]
        (score,) = scorer.score([case])
        assert (score.metric, score.state, score.value) == ("length", state, expected)
        assert score.reason == (None if state == "value" else f"scripted: {state}")
    assert [case.response.state for case in scorer.cases] == ["value", "failed", "missing", "not applicable"]
    everything = ScriptedScorer(7, scores_all=True)
    assert everything.score(scorer_cases(state="missing"))[0].value == 7


def test_scorer_may_return_whole_scores() -> None:
    metrics = [
        Metric(name=name, title=name, unit="", low=0, high=1, higher_is_better=True) for name in ("a", "b")
    ]

    def both(case: Case) -> list[Score]:
        return [
            case.score(metrics[0], "value", value=1.0),
            case.score(metrics[1], "not applicable", reason="r"),
        ]

    scores = ScriptedScorer(both, metrics=metrics).score(scorer_cases())
    assert [(score.metric, score.state) for score in scores[:2]] == [("a", "value"), ("b", "not applicable")]
    one = ScriptedScorer(lambda case: case.score(metrics[0], "missing", reason="r"), metrics=metrics[:1])
    assert one.score(scorer_cases()[:1])[0].state == "missing"


# -- a whole run ------------------------------------------------------------------------


def test_run_of_scripted_parts(tmp_path: Path, tones: Path) -> None:
    events: list[str] = []
    system = ScriptedSystem("I am sorry.", name="mine", events=events, failures=[Unavailable("429")])
    oracle = ScriptedOracle(lambda sample: f"You sound {sample.cues['emotion']}.")
    scorer = ScriptedScorer(lambda case: 60.0, name="kind", asynchronous=True, events=events)
    with RunFolder(tmp_path / "run").writing() as run:
        states = evaluate(
            run,
            systems=[system, oracle],
            tasks=[load_task("emotion", data=tones)],
            annotators=[ScriptedAnnotator({"emotion": "sad"}, events=events)],
            scorers=[scorer],
            settings=RunSettings(retry_policy=RetryPolicy(tries=2, first_wait=0.0)),
            progress=Silent(),
        )
    assert states == {"value": 16}
    assert len(system.requests) == 9  # one failure
    assert (system.loads, system.closes) == (1, 1)
    assert [event for event in events if event.endswith("mine")] == [
        "load mine",
        *["respond mine"] * 8,
        "close mine",
    ]
    assert events.count("score kind") == 16
    assert "annotate scripted" not in events  # the replies have no audio
    assert len(oracle.samples) == 8


# -- servers ---------------------------------------------------------------------------


def ask(server: ScriptedChatServer, prompt: str, **more: Any) -> Any:
    client = ChatClient(model="m", base_url=server.url, **more)
    try:
        return event_loop.run(client.ask([{"role": "user", "content": prompt}]))
    finally:
        client.close()


def test_chat_server_answers_by_a_function_of_the_request() -> None:
    with ScriptedChatServer(lambda r: prompt_of(r).upper(), served_suffix="-001") as server:
        answer = ask(server, "hello")
    assert (answer.text, answer.model, answer.server) == ("HELLO", "m-001", "fp_scripted")
    assert (answer.prompt_tokens, answer.completion_tokens) == (7, 5)
    assert [request["model"] for request in server.requests] == ["m"]
    assert server.prompts == ["hello"]


def test_chat_server_answers_with_a_status_or_a_whole_body() -> None:
    with ScriptedChatServer(503) as server:
        with pytest.raises(Unavailable, match="status 503"):
            ask(server, "hello")
        body = {"id": "1", "choices": [{"message": {"content": "odd"}}], "model": "other"}
        server.answer = body
        assert (ask(server, "hello").text, ask(server, "hello").model) == ("odd", "other")
    assert len(server.requests) == 3


def test_chat_server_answers_requests_for_its_identity_and_models() -> None:
    with ScriptedChatServer("a verdict", identity="Yes.", models=("m-1", "m-2"), fingerprint=None) as server:
        answer = ask(server, IDENTITY_PROMPT)
        models = json.load(urllib.request.urlopen(f"{server.url}/models", timeout=10))
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{server.url}/nothing", timeout=10)
    assert (answer.text, answer.server) == ("Yes.", None)
    assert [model["id"] for model in models["data"]] == ["m-1", "m-2"]
    assert server.prompts == []
    assert len(server.requests) == 1


def test_chat_server_can_be_slow() -> None:
    with (
        ScriptedChatServer(seconds=0.8) as server,
        pytest.raises(Unavailable, match=r"no whole answer in 0\.2 s"),
    ):
        ask(server, "hello", timeout=0.2)


def test_chat_server_sends_retry_after() -> None:
    with (
        ScriptedChatServer(429, retry_after="3") as server,
        pytest.raises(Unavailable) as caught,
    ):
        ask(server, "hello")
    assert caught.value.retry_after == 3


def test_scripted_server_records_requests() -> None:
    with ScriptedServer(lambda exchange: exchange.reply_json({"n": len(exchange.body)})) as server:
        request = urllib.request.Request(f"{server.url}/speak", data=b"12345", headers={"X-Test": "yes"})
        assert json.load(urllib.request.urlopen(request, timeout=10)) == {"n": 5}
    ((command, path, headers, body),) = server.received
    assert (command, path, headers["x-test"], body) == ("POST", "/speak", "yes", b"12345")


# -- judges ---------------------------------------------------------------------------


def test_scripted_judge_sees_what_the_real_one_sees() -> None:
    from echat_eval.judge import JudgeClient, Question, load_judge

    def grade(prompt: str) -> str:
        shown = shown_to_judge(prompt)
        assert shown["transcript"] == "I failed."
        assert shown["cues"] == "emotion: sad"
        assert "FENCE" in shown["outside"]
        return judge_verdict(4, 5 if "sorry" in shown["reply"] else 1, 3)

    client = ScriptedChatClient(grade, model="m-2026-01-01")
    judge_client = JudgeClient(load_judge("echat-r1"), client)  # type: ignore[arg-type]
    question = Question(
        task="emotion",
        language="en",
        transcript="I failed.",
        cues={"emotion": "sad"},
        reply="I am sorry.",
        voice_emotion=None,
    )
    grades = judge_client.rule(question).verdict.grades
    assert (grades["content"], grades["cue_awareness"], grades["empathy"]) == (4, 5, 3)
    assert len([prompt for prompt in client.prompts if prompt != IDENTITY_PROMPT]) == 1


def test_a_broken_fence_is_found() -> None:
    fence = "=====" + "0" * 16
    with pytest.raises(ValueError, match="not a judge's prompt"):
        shown_to_judge("Say yes.")
    with pytest.raises(ValueError, match="the fence was broken: 2 pieces"):
        shown_to_judge(f"text\n{fence} transcript\nmore")


def test_import_is_light() -> None:
    code = (
        "import sys, echat_eval.testing; "
        "heavy = {'torch', 'pandas', 'matplotlib', 'soundfile', 'numpy', 'transformers', 'scipy', 'openai'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
