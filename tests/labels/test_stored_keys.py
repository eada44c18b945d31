"""Runs stored before cues became data stay valid: hashes, fingerprints and prompts of the shipped cues."""

from __future__ import annotations

from pathlib import Path

import pytest

from echat_eval.io.hashing import digest
from echat_eval.judge import Question, load_judge, load_match
from echat_eval.judge.question import render
from echat_eval.labels import ALIASES, CUES, LABELS, TRAITS
from echat_eval.records import AudioRef, Reply, Response, Sample
from echat_eval.scorers import understanding
from echat_eval.store.keys import case_digest, request_for, response_key
from echat_eval.task import load_task
from echat_eval.task.probe import ASKS, probing

EXPECTED: dict[str, str] = {
    "vocabulary": "12d506423d6f9a065e4c7eb9531a31b7fa5451cd13d93c3b935624fbca69d98f",
    "task emotion": "c8e259e70d8f7f4a205832e074a228eb40340d79c8953122e6b40254706fa8d1",
    "task age": "cc788e637a56dabd984c0ae671dd21c2ac9cfdd17988edd6e4f60cd66f06fec3",
    "task gender": "6a6d6deac153c53b129c6b0d6419890ed4850635f964417a0d5fd8e3a5601195",
    "task event": "a9bd8fc0b8bde34beb0e171b8a6721cd5e7c87414c21c2976e000e2273357859",
    "task multi": "d491bdc568a841b1a0e335bfa8e7c2359ab9990cf75cdf350d2a908140ed6615",
    "ask transcript": "7ef167465f5b46768480eda4e8320f3543a12b5c1f34e066dc5dc320dfa07228",
    "ask emotion": "6154d9f2fadf7ceada7e9e21f023688affb4ad753f43bf7f79d6b1cc2ba47c77",
    "ask age": "4614ee6f51b9a4fbe04453a8be68d463128e74af886c969ee9ec3a7ebad3b7ee",
    "ask gender": "714cf87a0d58ab3445bd152c6aabb74df379005c747c7889c17b80212c68a17d",
    "ask event": "c05fd7e8413d5d181a44204cfacafddb1bdb810fc6b28f190761dbb3419dd20a",
    "prompt en": "1a8bb0bc161afdc300c0bed564741124373f25bc7b1e50c82e169be9908bfe2a",
    "prompt zh": "e26852948cdeede6d96e992862769f2f297ef73514515d39b3a3d20d7b028419",
    "response": "9286478c5b009e2b4767e388f6633a0e72b0479807048bcecfa41f8f1267aee6",
    "oracle": "eadda4c272cfb80b3b7d13a630cf8e1d57176456d8b4fea388e05fef375d801e",
    "case": "4078994aae2672a9ec8e4eaa4aa3902427aa8703ad6c38cfb13bc23ea62c538c",
    "understanding": "1d56891345ac9c1b09782765890ca53308c3542681e6e9b900e0383418fc41a0",
    "judge": "0a1dc071b04c4618ed2371bb7ec1c1606ed9c8c0610193fad3e8097931127cf8",
    "match": "6e0d1e84981776c34cde37ec367e27ec5db19ef816404104299d6539ce2adc5b",
}
SAMPLE = Sample(
    task="multi",
    id="one",
    audio=AudioRef(path=Path("one.wav"), sha256="0" * 64, seconds=1.0),
    transcript="I did it.",
    cues={"emotion": "happy", "event": "throat clearing"},
    language="en",
    source="real",
)
RESPONSE = Response(
    key="k", system="s", task="multi", sample_id="one", state="value", reply=Reply(text="Well.")
)


def found(name: str) -> str:
    """Return a hash by the code of today."""
    kind, _, rest = name.partition(" ")
    if kind == "task":
        return load_task(rest).sha256
    if kind == "ask":
        return probing(load_task("multi"), rest).sha256
    if kind == "prompt":
        question = Question(
            task="multi", language=rest, transcript="I did it.", cues=SAMPLE.cues, reply="Well done."
        )
        return digest("prompt", [render(judge, question).text for judge in (load_judge("echat-r1"),)])
    facts = {
        "vocabulary": lambda: digest(
            "v", [LABELS, CUES, TRAITS, [[c, list(ALIASES[c].items())] for c in CUES]]
        ),
        "response": lambda: response_key("s", {}, None, request_for(SAMPLE)),
        "oracle": lambda: response_key("s", {}, None, SAMPLE),
        "case": lambda: case_digest(SAMPLE, RESPONSE),
        "understanding": lambda: understanding.Understanding().fingerprint(),
        "judge": lambda: load_judge("echat-r1").fingerprint(),
        "match": lambda: load_match("echat-r1").fingerprint(),
    }
    return facts[kind]()


NAMES = [
    "vocabulary",
    *(f"task {name}" for name in ("emotion", "age", "gender", "event", "multi")),
    *(f"ask {asks}" for asks in ASKS),
    "prompt en",
    "prompt zh",
    "response",
    "oracle",
    "case",
    "understanding",
    "judge",
    "match",
]


@pytest.mark.parametrize("name", NAMES)
def test_shipped_cues_keep_their_hashes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(understanding, "installed_version", lambda _: "1")
    assert found(name) == EXPECTED[name]
