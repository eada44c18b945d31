"""Cached replies are not used if the model behind the same URL may have changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from echat_eval.concurrency.retry import RetryPolicy
from echat_eval.scorers.outcome import OutcomeScorer
from echat_eval.store.cache import Cache
from echat_eval.store.run_folder import RunFolder
from echat_eval.systems import build_system
from tests.support.scripted_run import evaluated


def run_once(out: Path, tones: Path, spec: str, settings: dict[str, Any], cache: Cache) -> RunFolder:
    return evaluated(
        out,
        tones,
        build_system(spec, settings),
        scorers=[OutcomeScorer()],
        retry_policy=RetryPolicy(tries=1),
        cache=cache,
    )


def words_of(run: RunFolder) -> set[str]:
    return {str(r.reply.text) for r in run.responses().values() if r.reply is not None}


def cached_in(run: RunFolder) -> set[bool]:
    return {response.cached for response in run.responses().values()}


def test_a_changed_server_fingerprint_invalidates_cached_replies(
    tones: Path, tmp_path: Path, serve: Callable[[Any], Any], own_cache: Path
) -> None:
    served = {"weights": "w1"}

    def script(http: Any) -> None:
        if http.path == "/fingerprint":
            http.reply(served["weights"]) if served["weights"] else http.reply(status=404)
        else:
            http.reply(json.dumps({"text": f"from {served['weights']}"}), "application/json")

    server, cache = serve(script), Cache(own_cache)

    def posts() -> int:
        return sum(method == "POST" for method, *_ in server.received)

    assert words_of(run_once(tmp_path / "a", tones, f"mine={server.url}/", {}, cache)) == {"from w1"}
    assert cached_in(run_once(tmp_path / "b", tones, f"mine={server.url}/", {}, cache)) == {True}
    assert posts() == 8
    served["weights"] = "w2"
    run = run_once(tmp_path / "c", tones, f"mine={server.url}/", {}, cache)
    assert (words_of(run), cached_in(run), posts()) == ({"from w2"}, {False}, 16)
    # Without a fingerprint, every reply is requested.
    served["weights"] = ""
    for out in ("d", "e"):
        assert cached_in(run_once(tmp_path / out, tones, f"mine={server.url}/", {}, cache)) == {False}
    assert posts() == 32


def test_replies_of_a_chat_server_without_version_are_not_cached(
    tones: Path, tmp_path: Path, serve: Callable[[Any], Any], own_cache: Path
) -> None:
    served = {"weights": "w1"}

    def script(http: Any) -> None:
        if http.command == "GET":
            http.reply(json.dumps({"data": [{"id": "m-2026-01-01", "object": "model"}]}), "application/json")
        else:
            said = {"role": "assistant", "content": f"from {served['weights']}"}
            choices = [{"index": 0, "finish_reason": "stop", "message": said}]
            http.reply(json.dumps({"choices": choices}), "application/json")

    server, cache = serve(script), Cache(own_cache)
    settings = {"model": "m-2026-01-01", "url": f"{server.url}/v1"}
    first = run_once(tmp_path / "a", tones, "openai-chat", settings, cache)
    assert words_of(first) == {"from w1"}
    # There is a fingerprint, so that the run is not repeated; but it is hardly more than a name.
    assert first.manifest().systems["m-2026-01-01"].fingerprint is not None
    served["weights"] = "w2"
    again = run_once(tmp_path / "b", tones, "openai-chat", settings, cache)
    assert (words_of(again), cached_in(again)) == ({"from w2"}, {False})
