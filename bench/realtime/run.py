"""Many live sessions at once against a scripted server in another process: frames, CPU time, exact times.

    python bench/realtime/run.py

Every session sends a query of its own as it is spoken and gets a voice as it is spoken. Measured: samples
that did not arrive on either side; CPU time of the client's process per second of audio in both directions;
the first-audio time that the client reports, beside the time from the end of the query to the first audio on
the server's own clock. Both processes share the machine's monotonic clock; the two times are differences of
it on each side. Writes bench/results/realtime.json and docs/performance.md; exits 1 if a goal is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bench.runner.table import write_between  # noqa: E402
from bench.support.machine import machine  # noqa: E402
from echat_eval.concurrency import event_loop  # noqa: E402
from echat_eval.io.audio import write_wav  # noqa: E402
from echat_eval.records import Reply, Request, Waveform  # noqa: E402
from echat_eval.systems.realtime import Realtime  # noqa: E402
from echat_eval.testing.realtime_server import ScriptedRealtimeServer, scripted_voice  # noqa: E402

RESULTS = ROOT / "bench" / "results" / "realtime.json"
MARKS = "<!-- realtime: begin, written by bench/realtime/run.py -->", "<!-- realtime: end -->"
#: Hz of the query's file and of the session, so that nothing is resampled while times are measured.
RATE = 24_000
#: Seconds of the query, from the end of the query to the first audio, and of the voice.
QUERY, DELAY, VOICE = 4.0, 0.4, 3.0
#: Milliseconds, at most.
GOALS = {"cpu_ms_per_audio_second": 20.0, "error_ms_median": 5.0, "error_ms_p99": 25.0}


def serve() -> None:
    """Run a server, print its address, and print its sessions once a line arrives."""
    voice = scripted_voice(RATE, silence=0.1, tone=VOICE - 0.1)
    with ScriptedRealtimeServer(voice=voice, delay=DELAY, real_time=True) as server:
        print(server.url, flush=True)
        for _ in sys.stdin:
            sessions = [
                {
                    "query": hashlib.sha256(session.query).hexdigest(),
                    "bytes": len(session.query),
                    "first_audio_seconds": session.first_audio_seconds,
                }
                for session in server.sessions
            ]
            print(json.dumps(sessions), flush=True)


def measure(sessions: int, rounds: int) -> dict[str, Any]:
    """Return the figures of several rounds of sessions at once."""
    command = [sys.executable, str(Path(__file__)), "--serve"]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        url = server.stdout.readline().strip()
        with tempfile.TemporaryDirectory() as folder:
            requests = _requests(Path(folder), sessions * rounds)
            system = Realtime("scripted", url=url, calls_at_once=sessions, timeout=60.0)
            system.load()
            event_loop.call(system.respond, requests[0])  # imports and the first connection
            cpu, begun = time.process_time(), time.monotonic()
            replies: list[Reply] = []
            for number in range(rounds):
                part = requests[number * sessions : (number + 1) * sessions]
                replies += event_loop.run(_all(system, part))
            cpu, wall = time.process_time() - cpu, time.monotonic() - begun
            system.close()
            server.stdin.write("sessions\n")
            server.stdin.flush()
            seen = json.loads(server.stdout.readline())[1:]
            return _figures(requests, replies, seen, cpu, wall)
    finally:
        server.stdin.close()
        server.wait(10)


async def _all(system: Realtime, requests: list[Request]) -> list[Reply]:
    return await asyncio.gather(*(system.respond(request) for request in requests))


def _requests(folder: Path, number: int) -> list[Request]:
    rng = np.random.default_rng(7)
    found = []
    for name in range(number):
        samples = rng.uniform(-0.3, 0.3, int(QUERY * RATE)).astype(np.float32)
        audio = write_wav(Waveform(samples=samples, sample_rate=RATE), folder)
        found.append(Request(id=f"q{name}", audio=audio, language="en"))
    return found


def _figures(
    requests: list[Request], replies: list[Reply], seen: list[dict[str, Any]], cpu: float, wall: float
) -> dict[str, Any]:
    by_query = {session["query"]: session for session in seen}
    lost, errors, round_trips = 0, [], []
    for request, reply in zip(requests, replies, strict=True):
        assert isinstance(reply.audio, Waveform)
        assert reply.first_audio_seconds is not None
        session = by_query.get(_sent(request))
        lost += abs(int(VOICE * RATE) - len(reply.audio.samples))
        if session is None:
            lost += int(QUERY * RATE)
            continue
        errors.append(1000 * abs(reply.first_audio_seconds - session["first_audio_seconds"]))
        round_trips.append(1000 * (reply.round_trip_seconds or 0.0))
    audio = len(requests) * (QUERY + VOICE)
    return {
        "sessions": len(requests),
        "wall_seconds": round(wall, 2),
        "audio_seconds": audio,
        "lost_samples": lost,
        "cpu_ms_per_audio_second": round(1000 * cpu / audio, 2),
        "error_ms_median": round(float(np.median(errors)), 2),
        "error_ms_p99": round(float(np.percentile(errors, 99)), 2),
        "error_ms_max": round(max(errors), 2),
        "round_trip_ms_median": round(float(np.median(round_trips)), 2),
    }


def _sent(request: Request) -> str:
    """Return the hash of the samples that the server should have."""
    import wave

    with wave.open(str(request.audio.path)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
    # Read as libsndfile scales them, and written as the client does.
    scaled = np.rint(np.clip(samples.astype(np.float32) / 32768, -1, 1) * 32767).astype("<i2")
    return hashlib.sha256(scaled.tobytes()).hexdigest()


def lines_of(found: dict[str, Any]) -> str:
    """Return the results as text of docs/performance.md."""
    at, goals = found["machine"], found["goals"]
    rows = [
        ("samples lost in either direction", found["lost_samples"], 0),
        (
            "CPU of the client, ms per second of audio",
            found["cpu_ms_per_audio_second"],
            goals["cpu_ms_per_audio_second"],
        ),
        ("error of the first-audio time, ms, median", found["error_ms_median"], goals["error_ms_median"]),
        ("the same, 99th percentile", found["error_ms_p99"], goals["error_ms_p99"]),
        ("the same, largest", found["error_ms_max"], "-"),
        ("round trip by ping, ms, median", found["round_trip_ms_median"], "-"),
    ]
    return "\n".join(
        [
            f"{at['date']}, {at['cores']} cores of an {at['cpu']}, load {at['load_before']:.1f} before the "
            f"start, commit {at['commit'][:12]}: {found['sessions']} sessions, {found['at_once']} at once.",
            "",
            "| figure | measured | goal, at most |",
            "| --- | --: | --: |",
            *(f"| {name} | {value} | {goal} |" for name, value, goal in rows),
        ]
    )


def main() -> int:
    """Measure, write the results, and return whether a goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", action="store_true", help="run the server")
    parser.add_argument("--sessions", type=int, default=50, help="at once")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    if given.serve:
        serve()
        return 0
    facts = machine()
    found = measure(given.sessions, given.rounds)
    missed = [name for name, most in GOALS.items() if found[name] > most]
    if found["lost_samples"]:
        missed.append("lost_samples")
    result = {"machine": facts, "at_once": given.sessions, "goals": GOALS, "missed": missed, **found}
    given.results.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if given.results == RESULTS:
        write_between(*MARKS, lines_of(result))
    print(json.dumps(result, indent=1))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
