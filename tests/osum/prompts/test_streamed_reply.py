"""Replies in pieces: joined, they are the reply read as a whole, wherever they are cut."""

from __future__ import annotations

import pytest

from echat_eval.errors import SystemFailure
from echat_eval.osum.prompts.parse_reply import read_reply
from echat_eval.osum.prompts.streamed_reply import StreamedReply

REPLIES = [
    ("s2s", "I hear you."),
    ("s2s", "  <happy> Wonderful, a < b and [c]!  "),
    ("s2s", "<开心>太好了！<没有> 1 < 2"),
    ("s2s-think", "<think>情感为:<SAD>,年龄为:<OLD><think end><悲伤>我很抱歉。"),
    ("s2s-think", "the speaker is sad</think>Oh dear."),
    ("s2s-think", "No thought at all."),
    ("s2t-think", "<think>never ends"),
    ("s2s", "[THINK]hm[/THINK]Yes."),
    ("s2s", "a <thinking> b </thinking> c"),
    ("understand", "你好<ADULT>"),
]


@pytest.mark.parametrize(("mode", "raw"), REPLIES)
def test_pieces_join_to_the_reply(mode: str, raw: str) -> None:
    whole = read_reply(raw)
    for step in (1, 2, 5, 100):
        streamed, think, text = StreamedReply(mode), "", ""
        for end in range(step, len(raw) + step, step):
            more = streamed.push(raw[:end])
            think, text = think + more[0], text + more[1]
            assert whole.text.startswith(text)
        assert not (mode == "understand" and text)
        rest = streamed.end(whole.think, whole.text)
        assert (think + rest[0], text + rest[1]) == (whole.think or "", whole.text)


def test_words_are_sent_early_and_half_characters_never() -> None:
    streamed = StreamedReply("s2s")
    assert streamed.push("I hear") == ("", "I hear")
    assert streamed.push("I hear \N{REPLACEMENT CHARACTER}") == ("", "")
    assert streamed.push("I hear 你") == ("", " 你")


def test_a_late_mark_is_reported() -> None:
    streamed, raw = StreamedReply("s2s"), "a sad child</think>Oh dear."
    streamed.push(raw[:8])
    whole = read_reply(raw)
    with pytest.raises(SystemFailure, match="without a stream"):
        streamed.end(whole.think, whole.text)
