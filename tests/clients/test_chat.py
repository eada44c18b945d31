"""The chat client: what its transport must not do."""

import signal
import socket
import subprocess
import sys
import time

import pytest

from echat_eval.clients.chat import ChatClient
from echat_eval.concurrency import event_loop
from echat_eval.errors import Unavailable
from tests.support.scripted_judge import ScriptedJudge, serving

ASKS = """
import signal, sys
from echat_eval.concurrency import event_loop
from echat_eval.clients.chat import ChatClient

client = ChatClient(model="m", base_url=sys.argv[1])
print(event_loop.run(client.ask([{"role": "user", "content": "Say yes."}])).text, flush=True)
if sys.argv[2] == "forgets":
    del client
elif sys.argv[2] == "interrupted":
    signal.raise_signal(signal.SIGINT)
"""


@pytest.mark.parametrize("end", ["ends", "forgets", "interrupted"])
def test_a_client_that_nobody_closes_says_nothing_of_it(end: str) -> None:
    with serving(ScriptedJudge(lambda *_: "Yes.")) as judge:
        done = subprocess.run(
            [sys.executable, "-X", "dev", "-c", ASKS, judge.url, end], capture_output=True, text=True
        )
    assert done.stdout.strip() == "Yes."
    assert "nclosed" not in done.stderr
    assert "destroyed" not in done.stderr
    assert done.returncode == (-signal.SIGINT if end == "interrupted" else 0), done.stderr


GIVES_UP = """
import sys, time
from echat_eval.concurrency import event_loop
from echat_eval.clients.chat import ChatClient
from echat_eval.judge import JudgeClient, Question, load_judge

jury = JudgeClient(load_judge("echat-r1"), ChatClient(model="m", base_url=sys.argv[1], calls_at_once=1))
asking = [
    event_loop.start(jury.ruling(Question(
        task="emotion", language="en", transcript=f"{n}", cues={"emotion": "sad"}, reply="Oh.", heard=None
    )))
    for n in range(3)
]
time.sleep(0.5)
for one in asking:
    one.cancel()
jury.close()
time.sleep(2)
"""


def test_what_is_asked_when_a_run_stops_at_once_is_given_up_silently() -> None:
    def slowly(*_: object) -> str:
        time.sleep(1.5)
        return "Yes."

    with serving(ScriptedJudge(slowly)) as judge:
        done = subprocess.run(
            [sys.executable, "-X", "dev", "-c", GIVES_UP, judge.url], capture_output=True, text=True
        )
    assert done.returncode == 0, done.stderr
    assert "never retrieved" not in done.stderr
    assert "destroyed" not in done.stderr


def test_a_server_that_is_not_there_is_not_called_a_slow_one() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        client = ChatClient(model="m", base_url=f"http://127.0.0.1:{unused.getsockname()[1]}/v1")
        with pytest.raises(Unavailable, match="Connect call failed") as caught:
            event_loop.run(client.ask([{"role": "user", "content": "Say yes."}]))
    assert not caught.value.overloaded


def test_a_server_that_does_not_answer_in_time_is_a_crowded_one() -> None:
    scripted = ScriptedJudge(lambda *_: "Yes.")
    scripted.usage = lambda _: time.sleep(0.8)
    with serving(scripted) as judge:
        client = ChatClient(model="m", base_url=judge.url, timeout=0.2)
        with pytest.raises(Unavailable, match=r"no answer within 0\.2 s") as caught:
            event_loop.run(client.ask([{"role": "user", "content": "Say yes."}]))
    assert caught.value.overloaded
