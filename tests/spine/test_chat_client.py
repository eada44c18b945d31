"""The chat client: what its transport must not do."""

import signal
import subprocess
import sys

import pytest

from tests.instruments.scripted_judge import ScriptedJudge, serving

ASKS = """
import os, signal, sys
from echat_eval import loop
from echat_eval.chat_client import ChatClient

client = ChatClient(model="m", base_url=sys.argv[1])
print(loop.run(client.ask([{"role": "user", "content": "Say yes."}])).text, flush=True)
if sys.argv[2] == "forgets":
    del client
elif sys.argv[2] == "interrupted":
    os.kill(os.getpid(), signal.SIGINT)
    signal.pause()
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
