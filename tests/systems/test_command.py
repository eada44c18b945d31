"""A program as a system: a shell script, and small Python scripts with faults."""

from __future__ import annotations

import os
import stat
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from echat_eval.concurrency.retry import RetryPolicy, reason_of
from echat_eval.errors import NotApplicable, SystemFailure, Unavailable, UsageError
from echat_eval.records import Request, Turn
from echat_eval.store.keys import request_for
from echat_eval.systems import build_system
from echat_eval.systems.command import Command
from echat_eval.task import load_task
from tests.support.present import present, recording_of
from tests.support.scripted_run import evaluated

SHEBANG_AND_IMPORTS = f"#!{sys.executable}\nimport sys, json, os, time\n"


def script(folder: Path, body: str, name: str = "infer.py", head: str = SHEBANG_AND_IMPORTS) -> Path:
    path = folder / name
    path.write_text(head + body)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


ECHO = """
for line in sys.stdin:
    q = json.loads(line)
    print(json.dumps({"id": q["id"], "text": "pid %d heard %s" % (os.getpid(), os.path.basename(q["audio"]))}))
"""


def opened(path: Path, **settings: Any) -> Command:
    return Command(str(path), **{"timeout": 20.0, **settings})


def test_a_shell_script_is_a_system(tmp_path: Path, tones: Path) -> None:
    path = script(
        tmp_path,
        'while IFS= read -r line; do\n  id=${line#*\\"id\\":\\"}; id=${id%%\\"*}\n'
        '  printf \'{"id": "%s", "text": "I hear you, %s."}\\n\' "$id" "$id"\ndone\n',
        "infer.sh",
        "#!/bin/sh\n",
    )
    system = build_system(f"command:{path}")
    assert system.name == "infer"
    run = evaluated(tmp_path / "run", tones, system, retry_policy=RetryPolicy(tries=1))
    found = run.responses()
    request_ids = {s.id: request_for(s).id for s in load_task("emotion", data=tones).samples}
    assert {sample: present(r.reply).text for (_, _, sample), r in found.items()} == {
        sample: f"I hear you, {name}." for sample, name in request_ids.items()
    }


def test_one_process_answers_all_requests_and_stops_on_close(tmp_path: Path, requests: list[Request]) -> None:
    system = opened(script(tmp_path, ECHO))
    replies = [present(system.respond(request).text) for request in requests]
    assert [text.split(" heard ")[1] for text in replies] == [r.audio.path.name for r in requests]
    pids = {int(text.split()[1]) for text in replies}
    assert len(pids) == 1
    system.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pids.pop(), 0)


def test_replies_of_a_batch_may_have_any_order(tmp_path: Path, requests: list[Request]) -> None:
    body = """
import itertools
while True:
    lines = [json.loads(l) for l in itertools.islice(sys.stdin, 4)]
    if not lines: break
    for q in reversed(lines):
        print(json.dumps({"id": q["id"], "text": os.path.basename(q["audio"])}))
"""
    system = opened(script(tmp_path, body), batch_size=4)
    assert [r.text for r in system.respond_batch(requests[:4])] == [r.audio.path.name for r in requests[:4]]
    system.close()


def test_a_crash_is_reported_with_stderr_and_the_program_restarts(
    tmp_path: Path, requests: list[Request]
) -> None:
    body = """
mark = sys.argv[0] + ".died"
for line in sys.stdin:
    q = json.loads(line)
    if not os.path.exists(mark):
        open(mark, "w").close()
        sys.stderr.write("CUDA error: illegal address\\n")
        sys.exit(3)
    print(json.dumps({"id": q["id"], "text": "alive"}))
"""
    system = opened(script(tmp_path, body))
    with pytest.raises(SystemFailure, match=r"ended with exit code 3 .*CUDA error: illegal address"):
        system.respond(requests[0])
    assert system.respond(requests[0]).text == "alive"
    system.close()


def test_a_program_may_exit_after_every_reply(tmp_path: Path, requests: list[Request]) -> None:
    body = """
q = json.loads(sys.stdin.readline())
print(json.dumps({"id": q["id"], "text": "once"}))
"""
    system = opened(script(tmp_path, body))
    for request in requests[:3]:
        assert system.respond(request).text == "once"
        time.sleep(0.1)  # so that it has ended, and is not found ending
    system.close()


def test_a_crash_on_every_try_is_a_failure(tmp_path: Path, tones: Path) -> None:
    body = 'sys.stdin.readline(); sys.stderr.write("[%d] died at %f" % (os.getpid(), time.time())); sys.exit(1)\n'
    folder = evaluated(tmp_path / "run", tones, opened(script(tmp_path, body)))
    assert {r.state for r in folder.responses().values()} == {"failed"}


def test_a_hanging_program_is_killed_and_its_row_is_missing(tmp_path: Path, requests: list[Request]) -> None:
    body = 'open(sys.argv[0] + ".pid", "w").write(str(os.getpid())); time.sleep(600)\n'
    path = script(tmp_path, body)
    system = opened(path, timeout=0.5, start_timeout=0.5)
    with pytest.raises(Unavailable, match="no reply in 1 s; does the program flush"):
        system.respond(requests[0])
    with pytest.raises(ProcessLookupError):
        os.kill(int(Path(f"{path}.pid").read_text()), 0)
    system.close()


def test_a_program_that_reads_nothing_times_out(tmp_path: Path, requests: list[Request]) -> None:
    system = opened(script(tmp_path, "time.sleep(600)\n"), timeout=0.2, start_timeout=0.2)
    long = [replace(r, id=f"{r.id}-{n}", instruction="x" * 20_000) for n in range(2) for r in requests]
    begun = time.monotonic()
    with pytest.raises(Unavailable, match="no reply in"):
        system.respond_batch(long)
    assert time.monotonic() - begun < 15
    system.close()


def test_a_long_argument_is_hashed_as_text(tmp_path: Path) -> None:
    path = script(tmp_path, ECHO)
    assert Command(f"{path} {'x' * 5000}").fingerprint() != Command(f"{path} {'y' * 5000}").fingerprint()


def test_child_processes_stop_with_the_program(tmp_path: Path, requests: list[Request]) -> None:
    body = f"""
import subprocess
child = subprocess.Popen([{sys.executable!r}, "-c", "import time; time.sleep(600)"])
for line in sys.stdin:
    print(json.dumps({{"id": json.loads(line)["id"], "text": str(child.pid)}}))
"""
    system = opened(script(tmp_path, body))
    child = int(present(system.respond(requests[0]).text))
    system.close()
    for _ in range(50):
        state = Path(f"/proc/{child}/stat")
        if not state.exists() or state.read_text().split(")")[1].split()[0] == "Z":
            break
        time.sleep(0.1)
    else:
        pytest.fail("the child is still running")


SECRETS = (
    *(
        "OPENAI_API_KEY",
        "HF_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "DB_PASSWORD",
        "DB_PASS",
        "DB_PWD",
        "GITHUB_PAT",
    ),
    *("MY_JWT", "SENTRY_DSN", "SLACK_WEBHOOK_URL", "CONNECTION_STRING", "SAS_SIGNATURE", "BEARER", "PLAIN"),
    *("SLURM_JWT", "VLLM_API_KEY", "CONDA_TOKEN", "HF_HUB_TOKEN", "PYTHON_KEYRING_PASS"),
)
NEEDED = (
    "HOME",
    "LC_ALL",
    "CUDA_VISIBLE_DEVICES",
    "OMP_NUM_THREADS",
    "HF_HOME",
    "HF_HUB_OFFLINE",
    "PYTHONPATH",
)
PRINTS_NAMES = """
for line in sys.stdin:
    print(json.dumps({"id": json.loads(line)["id"], "text": " ".join(sorted(os.environ))}))
"""


@pytest.mark.parametrize(
    ("keep_env", "kept"),
    [
        ("", set()),
        ("HF_TOKEN", {"HF_TOKEN"}),
        ("HF_TOKEN, PLAIN,NOT_SET", {"HF_TOKEN", "PLAIN"}),
        ("AWS_*", {"AWS_SECRET_ACCESS_KEY"}),
        ("HTTPS_PROXY", {"HTTPS_PROXY"}),
    ],
)
def test_a_program_gets_listed_variables_and_those_that_are_named(
    tmp_path: Path, requests: list[Request], monkeypatch: pytest.MonkeyPatch, keep_env: str, kept: set[str]
) -> None:
    monkeypatch.setattr(os, "environ", {"PATH": os.environ["PATH"]})
    for name in SECRETS + NEEDED:
        os.environ[name] = f"value of {name}"
    os.environ |= {"HTTPS_PROXY": "http://me:password@proxy:1", "NO_PROXY": "localhost"}
    system = opened(script(tmp_path, PRINTS_NAMES), keep_env=keep_env)
    names = set(present(system.respond(requests[0]).text).split())
    system.close()
    assert names - {"PYTHONUNBUFFERED", "LC_CTYPE"} == {"PATH", "NO_PROXY", *NEEDED, *kept}


@pytest.mark.parametrize("per_call", [False, True])
@pytest.mark.parametrize(
    ("body", "keep_env", "hint"),
    [
        (
            "os.environ['DB_PASS']\n",
            "",
            "DB_PASS is set and not passed on: --set keep_env=DB_PASS passes it on",
        ),
        ("raise SystemExit('no credentials')\n", "", "--set keep_env=NAME passes on one that it needs"),
        ("raise SystemExit('DB_PASSWORD?')\n", "", "keep_env=NAME"),
        ("raise SystemExit('DB_PASS is wrong')\n", "DB_PASS", None),
        ("raise SystemExit('died ' + 500 * 'x' + ' ' + 500 * 'y')\n", "", "keep_env=NAME"),
    ],
)
def test_a_program_that_fails_without_a_variable_has_a_hint(
    tmp_path: Path,
    requests: list[Request],
    monkeypatch: pytest.MonkeyPatch,
    body: str,
    keep_env: str,
    hint: str | None,
    per_call: bool,
) -> None:
    monkeypatch.setattr(os, "environ", {"PATH": os.environ["PATH"], "DB_PASS": "value of DB_PASS"})
    path = script(tmp_path, body)
    system = Command(f"{path} {{audio}}" if per_call else str(path), timeout=20.0, keep_env=keep_env)
    named = hint is not None and "is set" in hint  # withheld by us, so the system did not fail
    with pytest.raises(Unavailable if named else SystemFailure, match="ended with exit code 1") as caught:
        system.respond(requests[0])
    system.close()
    assert ("keep_env" in reason_of(caught.value)) == (hint is not None)
    assert hint is None or hint in reason_of(caught.value)


def test_a_secret_that_a_program_prints_is_scrubbed(
    tmp_path: Path, requests: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB_PASS", "hunter-22-hunter")
    system = opened(script(tmp_path, "raise SystemExit(os.environ['DB_PASS'])\n"), keep_env="DB_PASS")
    with pytest.raises(SystemFailure, match=r"stderr ends: \[secret\]"):
        system.respond(requests[0])
    system.close()


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ('print("{broken")', "starts with '{' but is not JSON"),
        ('print(json.dumps({"id": "other", "text": "x"}))', "id 'other', which matches no request"),
        ('print(json.dumps({"id": q["id"], "text": 7}))', "'text' is 7, expected text"),
        ('print(json.dumps({"id": q["id"], "answer": "x"}))', "unknown key 'answer'"),
        ('print(json.dumps({"id": q["id"], "error": "too loud"}))', "the system reported: too loud"),
        ('print(json.dumps({"id": q["id"], "audio": "gone.wav"}))', "broken reply audio: .*no such file"),
        ('print(json.dumps({"id": q["id"], "audio_base64": "!"}))', "broken reply audio: not base64"),
    ],
)
def test_a_malformed_reply_is_a_failure_with_a_reason(
    tmp_path: Path, requests: list[Request], statement: str, reason: str
) -> None:
    system = opened(script(tmp_path, f"for line in sys.stdin:\n    q = json.loads(line)\n    {statement}\n"))
    with pytest.raises(SystemFailure, match=reason):
        system.respond(requests[0])
    system.close()


def test_an_endless_line_is_a_failure(
    tmp_path: Path, requests: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("echat_eval.systems.program.MAX_REPLY_BYTES", 10_000)
    system = opened(script(tmp_path, 'while True:\n    sys.stdout.write("{" * 4096)\n'))
    with pytest.raises(SystemFailure, match="a line longer than 10,000 bytes"):
        system.respond(requests[0])
    system.close()


def test_log_lines_between_replies_do_no_harm(tmp_path: Path, requests: list[Request]) -> None:
    body = 'print("Loading checkpoint shards: 100%")\n' + ECHO
    system = opened(script(tmp_path, body))
    assert present(system.respond(requests[0]).text).endswith(requests[0].audio.path.name)
    system.close()


def test_voice_history_and_question_reach_a_program_and_a_voice_comes_back(
    tmp_path: Path, requests: list[Request]
) -> None:
    body = """
import shutil
for line in sys.stdin:
    q = json.loads(line)
    shutil.copy(q["audio"], q["reply_audio"])
    words = [t["role"][0] + ":" + t.get("text", "") + ":" + str("audio" in t) for t in q["history"]]
    print(json.dumps({"id": q["id"], "text": q["instruction"] + " ".join(words), "audio": q["reply_audio"]}))
"""
    turns = (Turn(role="user", text="hi", audio=requests[1].audio), Turn(role="assistant", text="hello"))
    system = opened(script(tmp_path, body))
    reply = system.respond(replace(requests[0], history=turns, instruction="? "))
    assert reply.text == "? u:hi:True a:hello:False"
    assert recording_of(reply).sha256 == requests[0].audio.sha256
    system.close()


def test_a_program_may_be_called_once_per_request(tmp_path: Path, requests: list[Request]) -> None:
    body = 'import shutil; shutil.copy(sys.argv[1], sys.argv[2]); print("in", sys.argv[3])\n'
    system = opened(script(tmp_path, body), name="once")
    system = Command(f"{tmp_path / 'infer.py'} {{audio}} {{out}} {{language}}")
    reply = system.respond(requests[0])
    assert (reply.text, recording_of(reply).sha256) == ("in en", requests[0].audio.sha256)
    with pytest.raises(NotApplicable, match="earlier turns"):
        system.respond(replace(requests[0], history=(Turn(role="user", text="hi"),)))
    system.close()


def test_a_program_gets_a_new_output_path_for_every_call(tmp_path: Path, requests: list[Request]) -> None:
    system = Command(f"{script(tmp_path, 'print(sys.argv[2])')} {{audio}} {{out}}")
    paths = {system.respond(requests[0]).text for _ in range(2)}
    assert len(paths) == 2
    system.close()


def test_a_failing_call_is_a_failure(tmp_path: Path, requests: list[Request]) -> None:
    path = script(tmp_path, 'print("half"); sys.exit("no GPU")\n')
    system = Command(f"{path} {{audio}}")
    with pytest.raises(SystemFailure, match=r"exit code 1 .*no GPU"):
        system.respond(requests[0])
    system.close()


def test_the_fingerprint_follows_values_of_kept_variables_but_not_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = script(tmp_path, PRINTS_NAMES)
    monkeypatch.setenv("MOOD", "calm")
    monkeypatch.setenv("MOOD_TOKEN", "one")
    plain, kept = Command(str(path)), Command(str(path), keep_env="MOOD,MOOD_TOKEN")
    before = plain.fingerprint(), kept.fingerprint()
    monkeypatch.setenv("MOOD_TOKEN", "two")
    assert (plain.fingerprint(), kept.fingerprint()) == before
    monkeypatch.setenv("MOOD", "wild")
    assert plain.fingerprint() == before[0]
    assert kept.fingerprint() != before[1]


def test_the_fingerprint_follows_program_arguments_and_named_files(tmp_path: Path) -> None:
    path = script(tmp_path, ECHO)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "a.bin").write_bytes(b"1")
    plain = Command(f"{sys.executable} {path}")
    prints = [plain.fingerprint(), Command(f"{sys.executable} {path} --fast").fingerprint()]
    watched = Command(f"{sys.executable} {path}", fingerprint_files=str(tmp_path / "weights"))
    prints.append(watched.fingerprint())
    assert watched.fingerprint() == prints[-1]
    (tmp_path / "weights" / "a.bin").write_bytes(b"2")
    prints.append(watched.fingerprint())
    script(tmp_path, ECHO + "# changed\n")
    prints.append(plain.fingerprint())
    assert len(set(prints)) == 5


@pytest.mark.parametrize("program", ["", "'", "./nothing-here", "no-such-program-anywhere"])
def test_an_absent_program_is_a_usage_error(program: str) -> None:
    with pytest.raises(UsageError):
        Command(program).load()


@pytest.mark.parametrize(
    "line",
    [
        "{'loss': 0.41, 'epoch': 1.0}",
        "{'device': device(type='cuda')}",
        '{"loss": 0.41}',
        '{"level": "info", "message": "loaded"}',
        "{1: 'a'}",
        "{}",
        "[1, 2]",
    ],
)
def test_lines_that_are_no_reply_are_log_lines(tmp_path: Path, requests: list[Request], line: str) -> None:
    system = opened(
        script(tmp_path, f"print({line!r})\n{ECHO.replace('    print', f'    print({line!r}); print')}")
    )
    assert present(system.respond(requests[0])).text
    system.close()


def test_a_reply_in_python_syntax_is_named(tmp_path: Path, requests: list[Request]) -> None:
    system = opened(script(tmp_path, ECHO.replace("json.dumps(", "(")))
    with pytest.raises(SystemFailure, match=r"json\.dumps"):
        system.respond(requests[0])
    system.close()


def test_output_that_is_not_utf_8_fails_with_its_place(tmp_path: Path, requests: list[Request]) -> None:
    path = script(tmp_path, "sys.stdout.buffer.write('恭喜你'.encode('gbk'))\n")
    system = Command(f"{path} {{audio}}")
    with pytest.raises(SystemFailure, match=r"stdout: byte 0 \(0x"):
        system.respond(requests[0])
    system.close()
