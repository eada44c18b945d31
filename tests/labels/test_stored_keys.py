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
    "task emotion": "d4506030d11521930d58d36838990c9bf7cb68e3e74319fcf356468bda23c01e",
    "task age": "fdc7a71315b3d4b75071d8b0f691609f1ef49e3e30c29bee9ab042cfef67dd8c",
    "task gender": "0119cdd16b68e0ce21c871683a6d51ac14f9541a703c032190f7f6bd35c28bad",
    "task event": "2293406d5e6f4def2d49e8a39e86c7318a6cc25ead958d6e8015ee7f0001b814",
    "task multi": "1302f8f6d30a5731b11458f3e6eadb9f68a2c44e1124b4a27f36e20812b495ac",
    "ask transcript": "b9da94c959d4a1f22a0415f278d875321ba54eb9a99808302ce880c851824a7e",
    "ask emotion": "779e625b14baba130495551e7d50b77194a4ad82e30c3af5c4238b5923791761",
    "ask age": "0e435339d493b70f2abf0c64f5db7c0f822b6294eb6a3a7e358e0210dedf3470",
    "ask gender": "321e6cde8b2cb5854ef2759a73a615392e7bfae98be89f2a84817fee39b46e24",
    "ask event": "e23075e62cc06f247a1d8b4f0d98c98079971a757ceb5c49f25adcab5a32a5d0",
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
