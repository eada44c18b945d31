"""Odd text and numbers in every field of a judge's answer: a verdict, or a missing one with a reason; never a crash."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from echat_eval.clients.chat import ChatClient
from echat_eval.concurrency.retry import reason_of
from echat_eval.errors import JudgeFailure, Unavailable, remember_secret
from echat_eval.io.jsonl import dumps, read_rows
from echat_eval.judge import JudgeClient, Question, Ruling, load_judge
from echat_eval.testing.servers import schema_of

Serve = Callable[[Callable[[Any], None]], Any]
QUESTION = Question(task="emotion", language="en", transcript="Oh.", cues={"emotion": "sad"}, reply="Hm.")
SECRET = "sk-verdict-text-1"


def body_of(request: dict[str, Any], changes: dict[str, str]) -> str:
    """Return an answer as raw JSON, in which the named parts are replaced by raw JSON."""
    ticket = (schema_of(request) or {})["required"][-1]
    parts = {"reason": '"warm"', "content": "4", "cue_awareness": "4", "empathy": "4", ticket: "1"}
    envelope = {
        "model": '"m"',
        "system_fingerprint": '"fp"',
        "usage": '{"prompt_tokens": 7, "completion_tokens": 5}',
        "finish_reason": '"stop"',
        "refusal": "null",
        "reasoning_content": "null",
    }
    verdict = {name: changes.get(name, raw) for name, raw in parts.items()}
    envelope = {name: changes.get(name, raw) for name, raw in envelope.items()}
    content = "{" + ", ".join(f'"{name}": {raw}' for name, raw in verdict.items()) + "}"
    content = json.dumps(changes.get("answer", content))
    return (
        f'{{"model": {envelope["model"]}, "system_fingerprint": {envelope["system_fingerprint"]}, '
        f'"usage": {envelope["usage"]}, "choices": [{{"finish_reason": {envelope["finish_reason"]}, '
        f'"message": {{"content": {content}, "refusal": {envelope["refusal"]}, '
        f'"reasoning_content": {envelope["reasoning_content"]}}}}}]}}'
    )


def ruled(serve: Serve, store: Path, changes: dict[str, str]) -> Ruling:
    server = serve(lambda h: h.reply(body_of(json.loads(h.body), changes), "application/json"))
    client = ChatClient(model="m", base_url=f"{server.url}/v1")
    judge_client = JudgeClient(load_judge("echat-r1"), client, store=store)
    try:
        return judge_client.rule(QUESTION)
    finally:
        judge_client.close()


LONG = "9" * 5000
KEPT = [
    {"reason": r'"\ud800 x"'},
    {"reason": r'"a\u0000b\u001b]0;title\u0007 \u0085 c"'},
    {"reason": '"a\nb\tc"'},
    {"reason": '"\x00\x1b[31m"'},
    {"reason": json.dumps(f"Bearer {SECRET}")},
    {"reason": r'"sk-verdict\u002dtext-1"'},
    {"reason": json.dumps("长" * 5000)},
    {"model": r'"\ud800"'},
    {"model": '["m"]'},
    {"model": "5"},
    {"model": "null"},
    {"model": f'"{SECRET}"'},
    {"system_fingerprint": r'"\udfff\u0000"'},
    {"system_fingerprint": '{"a": [1e999]}'},
    {"system_fingerprint": LONG},
    {"system_fingerprint": "false"},
    {"system_fingerprint": f'["{SECRET}"]'},
    {"system_fingerprint": json.dumps("x" * 100_000)},
    {"usage": '{"prompt_tokens": 1e999, "completion_tokens": -1}'},
    {"usage": f'{{"prompt_tokens": {LONG}, "completion_tokens": {LONG}}}'},
    {"usage": r'{"\ud800": 1, "\u0000": 2}'},
    {"usage": "[]"},
    {"usage": '"12"'},
    {"usage": "1e999"},
    {"usage": '{"prompt_tokens": 1, "prompt_tokens": 2, "completion_tokens": 3}'},
    {"usage": '{"prompt_tokens": NaN, "completion_tokens": Infinity}'},
    {"finish_reason": r'"\ud800\u0000"'},
    {"finish_reason": "7"},
    {"finish_reason": '{"type": "stop"}'},
    {"reasoning_content": r'"\ud800"'},
    {"reasoning_content": "5"},
]


@pytest.mark.parametrize("changes", KEPT, ids=lambda c: f"{next(iter(c))}={next(iter(c.values()))[:30]!a}")
def test_odd_text_loses_no_paid_verdict(serve: Serve, tmp_path: Path, changes: dict[str, str]) -> None:
    remember_secret(SECRET)
    ruling = ruled(serve, tmp_path / "v.jsonl", changes)
    assert set(ruling.verdict.grades.values()) == {4}
    stored = (tmp_path / "v.jsonl").read_bytes() + (tmp_path / "v.served.jsonl").read_bytes()
    text = stored.decode("utf-8")
    assert SECRET not in text
    assert "\\u0000" not in text
    assert "\\u001b" not in text
    assert len(list(read_rows(tmp_path / "v.jsonl"))) == 1
    assert len(ruling.server or "") <= 200
    assert all(0 <= count < 10**9 for count in ruling.tokens)


MISSING = [
    ({"content": "1e999"}, "content inf is not a whole number"),
    ({"content": "-1e999"}, "content -inf"),
    ({"content": "NaN"}, "content nan"),
    ({"content": LONG}, "not one JSON object"),
    ({"content": "9" * 4000}, "content 999.*… is not a whole number"),
    ({"content": r'"\ud800"'}, r"content '\\ud800'"),
    ({"content": r'"\u0000"'}, r"content '\\x00'"),
    ({"content": f'"{SECRET}"'}, r"content '\[secret\]'"),
    ({"content": "[" * 5000 + "]" * 5000}, "not one JSON object|content"),
    ({"reason": "5"}, r"not of the form .* \(reason is not text\)"),
    ({"reason": r'["\ud800"]'}, "not of the form"),
    ({"answer": "\ud800 \x00 no"}, r"not one JSON object: '\\\\ud800 +no'"),
    ({"answer": "[" * 10_000}, "not one JSON object"),
    ({"answer": f"{SECRET} is your key"}, r"\[secret\] is your key"),
    ({"answer": "", "refusal": r'"I \ud800 cannot\u0000"'}, r"refused to answer: 'I \\\\ud800 cannot"),
    ({"answer": "", "refusal": f'"{SECRET}"'}, r"refused to answer: '\[secret\]'"),
    ({"answer": "", "finish_reason": r'"\ud800\u001b"'}, "no text"),
]


@pytest.mark.parametrize(("changes", "reason"), MISSING, ids=[reason for _, reason in MISSING])
def test_a_missing_verdict_has_a_writable_reason(
    serve: Serve, tmp_path: Path, changes: dict[str, str], reason: str
) -> None:
    remember_secret(SECRET)
    with pytest.raises(JudgeFailure, match=reason) as caught:
        ruled(serve, tmp_path / "v.jsonl", changes)
    row = dumps({"reason": reason_of(caught.value)})
    assert SECRET not in row
    assert len(row.encode("utf-8")) < 3000


@pytest.mark.parametrize(
    "body",
    [
        r'{"error": {"message": "\ud800 \u0000"}}',
        r'{"choices": [], "x": 1e999, "\ud800": 2}',
        '{"choices": [{"message": 5}]}',
        '{"choices": {"0": 1}, "y": ' + "9" * 5000 + "}",
        "[" * 100_000,
        "[1, 2]",
        "5",
        "",
        '{"choices": [{"message": {"content": "' + SECRET,
    ],
    ids=lambda b: b[:30].encode("unicode_escape").decode(),
)
def test_an_answer_that_is_none_has_a_writable_reason(serve: Serve, tmp_path: Path, body: str) -> None:
    remember_secret(SECRET)
    server = serve(lambda h: h.reply(body, "application/json"))
    judge_client = JudgeClient(load_judge("echat-r1"), ChatClient(model="m", base_url=f"{server.url}/v1"))
    with pytest.raises(Unavailable) as caught:
        judge_client.rule(QUESTION)
    judge_client.close()
    row = dumps({"reason": reason_of(caught.value)})
    assert SECRET not in row
    row.encode("utf-8")
