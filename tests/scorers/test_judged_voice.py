"""A judge that listens: what it is sent, its grade, its limits, keys, cost and destinations."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
import soundfile

from echat_eval.clients.chat import ChatClient
from echat_eval.concurrency import event_loop
from echat_eval.errors import JudgeFailure, NotApplicable, UsageError
from echat_eval.io.audio import audio_ref
from echat_eval.judge import (
    JudgeClient,
    JudgeParameters,
    Question,
    Recording,
    load_judge,
    load_match,
    render,
)
from echat_eval.ports import Case
from echat_eval.records import AudioRef, Reply, Score
from echat_eval.runner.destinations import receivers_of
from echat_eval.scorers.judge_settings import JudgeSettings, parse_judges, scorers_of_judge
from echat_eval.scorers.judged_match import JudgedMatch
from echat_eval.scorers.judged_voice import NO_AUDIO, JudgedVoice
from echat_eval.testing import (
    ScriptedChatClient,
    ScriptedChatServer,
    ScriptedServer,
    judge_by_sound,
    shown_to_judge,
)
from echat_eval.testing.servers import audio_of, prompt_of, text_of
from tests.support.cases import case
from tests.support.tones import write_speech

VOICE = load_judge("echat-voice-r1")


def speech(path: Path, hertz: float, semitones: float = 0.0, seconds: float = 1.0) -> AudioRef:
    return audio_ref(write_speech(path, hertz, semitones, seconds))


def spoken(tmp_path: Path, id: str = "one", semitones: float = 6.0, **more: Any) -> Case:
    """Return a case whose reply is spoken, with a real file for reply and query."""
    one = case(id, "Oh no, I am sorry.", **more)
    reply = Reply(text="Oh no, I am sorry.", audio=speech(tmp_path / f"{id}.wav", 200, semitones))
    query = speech(tmp_path / f"{id}-query.wav", 150)
    sample = replace(one.sample, audio=query)
    return replace(one, sample=sample, response=replace(one.response, reply=reply))


def listening(client: Any = None, kind: Any = JudgedVoice, **settings: Any) -> tuple[Any, ScriptedChatClient]:
    client = client or ScriptedChatClient(judge_by_sound)
    return kind(JudgeClient(VOICE, client), **settings), client


def score_of(scorer: JudgedVoice, one: Case) -> Score:
    (score,) = event_loop.run(scorer.score([one]))
    return score


def test_it_grades_the_recording_and_not_the_words(tmp_path: Path) -> None:
    scorer, client = listening()
    lively, flat = (
        score_of(scorer, spoken(tmp_path, name, semitones)) for name, semitones in (("a", 8.0), ("b", 0.0))
    )
    assert lively.value is not None
    assert flat.value is not None
    assert lively.value > flat.value + 20
    grades = lively.evidence.grades  # type: ignore[union-attr]
    assert list(grades) == ["fit", "naturalness", "language"]
    prompt, *_ = [p for p in client.prompts if text_of(p) != "Say yes."]
    assert "sorry" not in str(text_of(prompt))
    sent = [base64.b64decode(data) for data in audio_of(prompt)]
    assert sent == [(tmp_path / "a.wav").read_bytes()]


def test_the_query_is_sent_only_if_asked_for(tmp_path: Path) -> None:
    one = spoken(tmp_path)
    for query_audio, sent in ((False, ["one.wav"]), (True, ["one.wav", "one-query.wav"])):
        scorer, client = listening(query_audio=query_audio)
        score_of(scorer, one)
        assert [base64.b64decode(d) for d in audio_of(client.prompts[-1])] == [
            (tmp_path / name).read_bytes() for name in sent
        ]
        (place,) = scorer_of(query_audio=query_audio).destinations()
        assert ("query audio" in place.contents) == query_audio
        assert place.contents[0] == "audio of replies"
        assert "words of replies" not in place.contents


def scorer_of(**settings: Any) -> Any:
    made = scorers_of_judge(
        JudgeSettings(model="m-2026-01-01", url="http://127.0.0.1:9/v1", listens=True, **settings),
        note=lambda text: None,
    )
    made[0].close()
    return made[-1]


def test_the_evidence_comes_before_the_grades_and_the_voice_before_the_words() -> None:
    for turn in (0, 1, 2):
        question = Question(
            task="emotion",
            language="en",
            transcript="Hi.",
            cues={"emotion": "sad"},
            reply="",
            recordings=(Recording(name="reply", audio=AudioRef(path=Path("x"), sha256="0", seconds=1)),),
        )
        text = render(VOICE, question, turn=turn).text
        assert text.index("fit:") < text.index("naturalness:") < text.index("language:")
    assert list(VOICE.schema(with_voice=False)["properties"]) == ["reason", "fit", "naturalness", "language"]


@pytest.mark.parametrize("form", ["input_audio", "audio_url"])
def test_the_openai_client_sends_and_reads_the_same(tmp_path: Path, form: str) -> None:
    one = spoken(tmp_path)
    with ScriptedChatServer(lambda r: judge_by_sound(prompt_of(r)), served_suffix="") as server:
        client = ChatClient(model="m-2026-01-01", base_url=server.url)
        parameters = JudgeParameters(audio_in=form)  # type: ignore[arg-type]
        scorer = JudgedVoice(JudgeClient(VOICE, client, parameters=parameters))
        ours = score_of(scorer, one)
        scorer.close()
        (sent,) = [r for r in server.requests if text_of(prompt_of(r)) != "Say yes."]
        # The same message through the official client: a form that it would not build would not validate.
        official = openai.OpenAI(base_url=server.url, api_key="none", max_retries=0)
        answer = official.chat.completions.create(
            model=sent["model"], messages=sent["messages"], response_format=sent["response_format"]
        )
        assert server.requests[-1]["messages"] == sent["messages"]
        official.close()
    content = answer.choices[0].message.content
    assert content is not None
    assert json.loads(content)["fit"] == ours.evidence.grades["fit"]  # type: ignore[union-attr]
    if form == "input_audio":
        data = base64.b64encode((tmp_path / "one.wav").read_bytes()).decode()
        assert sent["messages"][0]["content"][2] == {
            "type": "input_audio",
            "input_audio": {"data": data, "format": "wav"},
        }


def test_the_request_for_the_identity_carries_audio(tmp_path: Path) -> None:
    """A model for audio refuses a message without any."""

    def answer(request: dict[str, Any]) -> Any:
        return judge_by_sound(prompt_of(request)) if audio_of(prompt_of(request)) else 400

    with ScriptedChatServer(answer) as server:
        server.identity = "Yes."
        scorer = JudgedVoice(JudgeClient(VOICE, ChatClient(model="m", base_url=server.url)))
        identity = scorer.judge_client.server_identity()
        scorer.close()
        assert identity is not None
        assert audio_of(prompt_of(server.requests[0]))


def test_keys_depend_on_the_recording_and_its_form(tmp_path: Path) -> None:
    one, other = spoken(tmp_path, "a", 6.0), spoken(tmp_path, "b", 2.0)

    def key(of: Case, **parameters: Any) -> str:
        client: Any = ScriptedChatClient(judge_by_sound)
        scorer = JudgedVoice(JudgeClient(VOICE, client, parameters=JudgeParameters(**parameters)))
        (question,) = scorer.questions([of])
        return scorer.judge_client.prompt_of(question, 0)[1]

    assert one.response.reply is not None
    reworded = replace(one, response=replace(one.response, reply=replace(one.response.reply, text="No!")))
    assert key(one) == key(reworded)  # the words of the reply are no part of the question
    assert len({key(one), key(other), key(one, audio_in="audio_url")}) == 3


def test_a_verdict_is_reused_for_the_same_recording(tmp_path: Path) -> None:
    scorer, client = listening()
    one = spoken(tmp_path)
    score_of(scorer, one)
    sent = len(client.prompts)
    score_of(scorer, replace(one, response=replace(one.response, system="another")))
    assert len(client.prompts) == sent


def test_cost_counts_the_seconds_of_audio(tmp_path: Path) -> None:
    scorer, _ = listening()
    (question,) = scorer.questions([spoken(tmp_path)])
    prompt, _ = scorer.judge_client.prompt_of(question, 0)
    size = scorer.judge_client.size_of(prompt, question)
    assert size.audio_seconds == pytest.approx(1.0)
    assert size.estimate().audio_in == 10
    bound = size.upper_bound()
    assert bound is not None
    assert bound.audio_in == 50


def test_a_reply_without_audio_is_not_applicable() -> None:
    scorer, client = listening()
    score = score_of(scorer, case("one", "Hello.", audio=False))
    assert (score.state, score.reason, client.prompts) == ("not applicable", NO_AUDIO, [])
    assert list(scorer.questions([case("one", "Hello.", audio=False)])) == []


def test_audio_over_the_limit_is_missing_with_one_line(tmp_path: Path) -> None:
    scorer, client = listening()
    one = spoken(tmp_path)
    long = AudioRef(path=tmp_path / "long.wav", sha256="1", seconds=61.0)
    reply = Reply(text="Hello.", audio=long)
    score = score_of(scorer, replace(one, response=replace(one.response, reply=reply)))
    assert (score.state, client.prompts) == ("not applicable", [])
    assert score.reason == (
        "the reply's audio is 61.0 s long; judge 'echat-voice-r1' listens to at most 60 s (max_audio_seconds of "
        "its rubric)"
    )


def test_a_file_of_another_kind_names_the_other_form(tmp_path: Path) -> None:
    scorer, _ = listening()
    one = spoken(tmp_path)
    flac = tmp_path / "one.flac"
    soundfile.write(flac, np.zeros(1600), 16_000)
    reply = Reply(text="Hello.", audio=audio_ref(flac))
    with pytest.raises(
        NotApplicable, match="takes wav and mp3, and the reply is flac; set --judge-set audio_in"
    ):
        score_of(scorer, replace(one, response=replace(one.response, reply=reply)))


def test_a_rubric_without_the_language_has_one_line(tmp_path: Path) -> None:
    strict = replace(VOICE, other_languages=None)
    client: Any = ScriptedChatClient(judge_by_sound)
    scorer = JudgedVoice(JudgeClient(strict, client))
    with pytest.raises(NotApplicable, match="'echat-voice-r1' has no prompt in language 'de'"):
        score_of(scorer, spoken(tmp_path, language="de"))


def test_a_failed_reply_has_the_worst_value() -> None:
    scorer, _ = listening()
    score = score_of(scorer, case("one", None, state="failed", reason="it broke"))
    assert (score.state, score.value) == ("failed", 0.0)


@pytest.mark.parametrize(
    "said", ["At most 0 audio(s) may be provided in one request.", "m is not a multimodal model"]
)
def test_a_model_without_audio_is_refused_before_the_first_reply(said: str) -> None:
    with ScriptedServer(lambda e: e.reply_json({"error": {"message": said}}, status=400)) as server:
        client = ChatClient(model="m-2026-01-01", base_url=f"{server.url}/v1")
        scorer = JudgedVoice(JudgeClient(VOICE, client))
        with pytest.raises(UsageError, match="judge m-2026-01-01 takes no audio in this form"):
            scorer.judge_client.server_identity()
        scorer.close()


def test_a_verdict_on_words_is_none(tmp_path: Path) -> None:
    client: Any = ScriptedChatClient(
        lambda content: '{"reason": "x", "content": 5, "cue_awareness": 5, "empathy": 5}'
    )
    scorer, _ = listening(client)
    with pytest.raises(JudgeFailure, match="not of the form"):
        score_of(scorer, spoken(tmp_path))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"listens": True, "rubric": "echat-r2"}, "'echat-r2' is for a judge that reads"),
        ({"rubric": "echat-voice-r1"}, "'echat-voice-r1' is for a judge that listens; set listens: true"),
        ({"query_audio": True}, "query_audio is for a judge that listens"),
    ],
)
def test_settings_that_do_not_fit_have_one_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        scorers_of_judge(
            JudgeSettings(model="m-2026-01-01", url="http://127.0.0.1:9/v1", **settings),
            note=lambda text: None,
        )


def test_an_experiment_names_a_judge_that_listens() -> None:
    text, audio = parse_judges({"text": {"model": "m-1"}, "audio": {"model": "m-2", "listens": True}})
    assert (text.rubric_name, audio.rubric_name) == ("echat-r1", "echat-voice-r1")
    assert [metric.name for metric in scorer_of(name="audio").metrics] == ["judge_audio_voice"]
    assert text.with_setting("listens", True).rubric_name == "echat-voice-r1"
    assert audio.with_setting("audio_in", "audio_url").parameters().audio_in == "audio_url"


def test_private_recordings_go_to_named_hosts_only() -> None:
    (receiver,) = receivers_of([], [scorer_of()])
    assert receiver.line == (
        "127.0.0.1:9 (this machine) gets audio of replies, transcripts, gold labels from scorer 'judged-voice'"
    )
    (match,) = receivers_of([], [scorer_of(match=True)])
    assert "query audio" in match.contents


# -- the match question --------------------------------------------------------


def group(tmp_path: Path, replies: tuple[float, float]) -> list[Case]:
    """Return two voices with the same words, and spoken replies with these pitches."""
    cases = []
    for number, (label, query, reply) in enumerate(zip(("sad", "happy"), (120, 240), replies, strict=True)):
        one = case(f"i{number}", None)
        sample = replace(
            one.sample, cues={"emotion": label}, audio=speech(tmp_path / f"q{number}.wav", float(query))
        )
        sound = speech(tmp_path / f"r{reply:.0f}.wav", reply)
        cases.append(replace(one, sample=sample, response=replace(one.response, reply=Reply(audio=sound))))
    return cases


@pytest.mark.parametrize(
    ("replies", "expected"), [((120.0, 240.0), 100.0), ((240.0, 120.0), 0.0), ((120.0, 120.0), 50.0)]
)
def test_the_match_question_is_put_to_recordings(
    tmp_path: Path, replies: tuple[float, float], expected: float
) -> None:
    scorer, client = listening(kind=JudgedMatch)
    cases = group(tmp_path, replies)
    scores = [
        s for s in event_loop.run(scorer.score(cases)) if s.metric == "judge_echat_voice_r1_listening_match"
    ]
    assert [s.value for s in scores] == [expected] * 2
    question = client.prompts[-1]
    assert len(audio_of(question)) == 3
    assert not {"sad", "happy"} & set(text_of(question).split())
    assert load_match("echat-voice-r1").name in scorer.rubric.name


def test_the_parts_shown_to_a_listening_judge_can_be_read(tmp_path: Path) -> None:
    scorer, client = listening()
    score_of(scorer, spoken(tmp_path))
    shown = shown_to_judge({"messages": [{"content": client.prompts[-1]}]})
    assert (shown["cues"], shown["reply"], shown["transcript"]) == ("emotion: sad", "", "words")
