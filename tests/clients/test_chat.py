"""The chat client: clean shutdown of its transport, and the errors of unreachable and slow servers."""

import signal
import socket
import subprocess
import sys
import time

import pytest

from echat_eval.clients.chat import ChatClient
from echat_eval.concurrency import event_loop
from echat_eval.errors import Unavailable
from echat_eval.testing import ScriptedChatServer

ONE_CALL = """
import signal, sys
from echat_eval.concurrency import event_loop
from echat_eval.clients.chat import ChatClient

client = ChatClient(model="m", base_url=sys.argv[1])
print(event_loop.run(client.ask([{"role": "user", "content": "Say yes."}])).text, flush=True)
if sys.argv[2] == "deleted":
    del client
elif sys.argv[2] == "interrupted":
    signal.raise_signal(signal.SIGINT)
"""


@pytest.mark.parametrize("end", ["exits", "deleted", "interrupted"])
def test_an_unclosed_client_causes_no_warning(end: str) -> None:
    with ScriptedChatServer(lambda request: "Yes.") as judge:
        completed = subprocess.run(
            [sys.executable, "-X", "dev", "-c", ONE_CALL, judge.url, end], capture_output=True, text=True
        )
    assert completed.stdout.strip() == "Yes."
    assert "nclosed" not in completed.stderr
    assert "destroyed" not in completed.stderr
    assert completed.returncode == (-signal.SIGINT if end == "interrupted" else 0), completed.stderr


CANCELLED_CALLS = """
import sys, time
from echat_eval.concurrency import event_loop
from echat_eval.clients.chat import ChatClient
from echat_eval.judge import JudgeClient, Question, load_judge

judge_client = JudgeClient(load_judge("echat-r1"), ChatClient(model="m", base_url=sys.argv[1], calls_at_once=1))
calls = [
    event_loop.start(judge_client.ruling(Question(
        task="emotion", language="en", transcript=f"{n}", cues={"emotion": "sad"}, reply="Oh.", voice_emotion=None
    )))
    for n in range(3)
]
time.sleep(0.5)
for call in calls:
    call.cancel()
judge_client.close()
time.sleep(2)
"""


def test_cancelled_calls_cause_no_warning() -> None:
    def slowly(request: object) -> str:
        time.sleep(1.5)
        return "Yes."

    with ScriptedChatServer(slowly) as judge:
        completed = subprocess.run(
            [sys.executable, "-X", "dev", "-c", CANCELLED_CALLS, judge.url], capture_output=True, text=True
        )
    assert completed.returncode == 0, completed.stderr
    assert "never retrieved" not in completed.stderr
    assert "destroyed" not in completed.stderr


def test_an_unreachable_server_is_not_overloaded() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        client = ChatClient(model="m", base_url=f"http://127.0.0.1:{unused.getsockname()[1]}/v1")
        with pytest.raises(Unavailable, match="Connect call failed") as caught:
            event_loop.run(client.ask([{"role": "user", "content": "Say yes."}]))
    assert not caught.value.overloaded


def test_a_server_that_times_out_is_overloaded() -> None:
    with ScriptedChatServer("Yes.", seconds=0.8) as judge:
        client = ChatClient(model="m", base_url=judge.url, timeout=0.2)
        with pytest.raises(Unavailable, match=r"no whole answer in 0\.2 s") as caught:
            event_loop.run(client.ask([{"role": "user", "content": "Say yes."}]))
    assert caught.value.overloaded
