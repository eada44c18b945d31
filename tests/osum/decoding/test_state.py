"""Phases, stopping, age gate, repetition rule and sampling: scripted ids, and comparison with transformers."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from echat_eval.osum.decoding.generate import ReplyIds, generate
from echat_eval.osum.decoding.reply_splitter import split_ids
from echat_eval.osum.decoding.sampling import Sampling, draw_uniforms, penalise, pick
from echat_eval.osum.decoding.state import DecodingRules, DecodingState
from echat_eval.osum.engine.engine import Engine
from echat_eval.osum.model.config import FULL, TINY, TINY_REAL_VOCABULARY, OsumConfig
from echat_eval.osum.prompts.modes import MODES, rules_of

SPEECH_RULES = rules_of(MODES["s2s"], "fixed")


def scripted(
    engine: Engine, script: list[int], rules: DecodingRules, **options: Any
) -> tuple[ReplyIds, list[torch.Tensor]]:
    """Return the reply whose ids come from a script, and the logits of every step."""
    seen: list[torch.Tensor] = []

    def hook(step: int, logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        seen.append(logits[0].clone())
        return torch.tensor([script[step]])

    prompt = torch.zeros(3, engine.model.config.decoder.width)
    rules = replace(rules, max_new_tokens=min(rules.max_new_tokens, len(script)))
    (made,) = generate(
        engine.model, [prompt], rules=rules, sampling=Sampling(), seeds=[0], hook=hook, **options
    )
    return made, seen


END, BOS_EOS = TINY.text.end, TINY.speech.bos_eos


@pytest.mark.parametrize("upstream", [False, True])
def test_text_then_speech_between_begin_and_end_tokens(tiny_engine: Engine, upstream: bool) -> None:
    script = [100, 101, 102, 103, END, BOS_EOS, 5, 6, 7, 8, BOS_EOS, 9, 9]
    made, seen = scripted(tiny_engine, script, SPEECH_RULES, upstream=upstream)
    assert made.ids == tuple(script[:11])
    assert made.text == ((100, 101, 102) if upstream else (100, 101, 102, 103))
    assert made.speech == (5, 6, 7, 8)
    assert made.finish_reason == "stop"
    # The logits after the end of the text come from the speech head: only its 4097 ids are possible.
    assert torch.isfinite(seen[4][: TINY.decoder.vocab]).sum() == TINY.decoder.vocab
    assert len(seen[5]) == TINY.speech.tokens


@pytest.mark.parametrize(
    ("script", "text", "speech", "reason"),
    [
        ([1, 2, 3], (1, 2, 3), (), "length"),
        ([END, BOS_EOS, BOS_EOS], (), (), "stop"),
        ([7, END, BOS_EOS, 5], (7,), (5,), "length"),
        ([7, END, 5, 6, BOS_EOS, BOS_EOS], (7,), (5, 6), "stop"),
        ([7, END, 5, BOS_EOS, 6, BOS_EOS], (7,), (5, 6), "stop"),
        ([BOS_EOS % 500, 7, END, BOS_EOS, 5, BOS_EOS], (BOS_EOS % 500, 7), (5,), "stop"),
    ],
)
def test_replies_end_at_the_end_token_or_the_limit(
    tiny_engine: Engine, script: list[int], text: tuple[int, ...], speech: tuple[int, ...], reason: str
) -> None:
    made, _ = scripted(tiny_engine, script, SPEECH_RULES)
    assert (made.text, made.speech, made.finish_reason) == (text, speech, reason)


def test_text_replies_and_read_aloud_text_stop_at_their_own_end_tokens(tiny_engine: Engine) -> None:
    text_reply, _ = scripted(tiny_engine, [4, 5, END, 6], rules_of(MODES["s2t"], "fixed"))
    assert (text_reply.text, text_reply.speech) == ((4, 5), ())
    read_aloud, _ = scripted(tiny_engine, [4, 5, BOS_EOS, 6], rules_of(MODES["tts"], "fixed"))
    assert (read_aloud.text, read_aloud.speech) == ((), (4, 5))


def test_the_end_of_text_is_embedded_as_text_and_later_ids_as_speech(
    tiny_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = tiny_engine.model.decoder
    embedded: list[bool] = []
    usual = decoder.embed

    def noting(ids: torch.Tensor, speech: torch.Tensor) -> torch.Tensor:
        embedded.append(bool(speech[0]))
        return usual(ids, speech)

    monkeypatch.setattr(decoder, "embed", noting)
    scripted(tiny_engine, [4, END, BOS_EOS, 5, BOS_EOS], SPEECH_RULES)
    assert embedded == [False, False, True, True]


def run_rules(script: list[int], rules: DecodingRules, config: OsumConfig = FULL) -> list[set[int]]:
    """Return the ids forbidden before each step and after the last."""
    state = DecodingState(rules, config, rows=1, device=torch.device("cpu"))
    forbidden = []
    for token in [*script, 0]:
        logits = state.restrict(torch.zeros(1, config.decoder.vocab))
        forbidden.append(set((~torch.isfinite(logits[0])).nonzero()[:, 0].tolist()))
        state.accept(torch.tensor([token]))
    return forbidden


def test_the_age_gate_opens_once_and_only_for_ages() -> None:
    age_is = [102185, 17714, 31252]
    forbidden = run_rules([5, *age_is, 1808, *age_is, 6], SPEECH_RULES)
    allowed = set(range(FULL.decoder.vocab)) - forbidden[4]
    assert allowed == {99119, 1808, 7863}
    assert not any(forbidden[:4])
    assert not any(forbidden[5:])


def test_the_gate_and_the_repetition_rule_are_per_row() -> None:
    state = DecodingState(SPEECH_RULES, FULL, rows=2, device=torch.device("cpu"))
    for ids in ([102185, 5], [17714, 5], [31252, 5]):
        state.accept(torch.tensor(ids))
    logits = state.restrict(torch.zeros(2, FULL.decoder.vocab))
    assert torch.isfinite(logits).sum(1).tolist() == [3, FULL.decoder.vocab]


def expected_forbidden(ids: list[int]) -> set[int]:
    """Apply the repetition rule as described, in plain Python."""
    last = ids[-1]
    forbidden: set[int] = set()
    if last > 4096:
        return forbidden
    run = 0
    while run < len(ids) and ids[-1 - run] == last:
        run += 1
    if run >= (10 if last == 1446 else 5):
        forbidden.add(last)
    for token in set(ids[-13:]):
        limit, window = (10, 13) if token == 1446 else (5, 8)
        if token <= 4096 and Counter(ids[-window:])[token] >= limit:
            forbidden.add(token)
    return forbidden


@pytest.mark.parametrize("seed", range(6))
def test_the_repetition_rule_agrees_with_its_description(seed: int) -> None:
    generator = np.random.RandomState(seed)
    speech = generator.choice([1446, 7, 8, 9], p=[0.55, 0.3, 0.1, 0.05], size=120).tolist()
    script = [11, 11, 11, 20, 151645, *speech]
    forbidden = run_rules(script, replace(SPEECH_RULES, age_gate=False))
    assert not any(forbidden[:6])
    for step in range(6, len(script) + 1):
        assert forbidden[step] == expected_forbidden(script[:step]), step


def test_upstream_never_blocks_repetition() -> None:
    assert not any(run_rules([151645] + [7] * 30, rules_of(MODES["s2s"], "upstream")))


@pytest.mark.parametrize(("top_k", "top_p"), [(5, 0.9), (2, 1.0), (15, 0.8), (10, 0.9)])
def test_candidates_and_probabilities_equal_those_of_transformers(top_k: int, top_p: float) -> None:
    from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    generator = np.random.RandomState(top_k)
    logits = torch.from_numpy(generator.standard_normal((1, 300)).astype(np.float32)).round(decimals=1)
    logits[0, 40:43] = logits.max()  # ties at the top; rounding makes ties at the k-th place
    warped = TemperatureLogitsWarper(1.2)(None, logits)
    warped = TopKLogitsWarper(top_k)(None, warped)
    if top_p < 1:
        warped = TopPLogitsWarper(top_p)(None, warped)
    expected = warped.softmax(1)[0].double()
    sampling = Sampling(top_k=top_k, top_p=top_p, temperature=1.2)
    grid = (torch.arange(20000, dtype=torch.float64) + 0.5) / 20000
    drawn = pick(logits.expand(20000, -1), sampling, grid)
    share = torch.bincount(drawn, minlength=300).double() / 20000
    kept = expected > 0
    if int(kept.sum()) == int((share > 0).sum()):
        # Equal probabilities at the top-p limit may be kept in another order; only their number matters.
        assert torch.allclose(share.sort().values, expected.sort().values, atol=2e-4)
    else:
        raise AssertionError((kept.sum(), (share > 0).sum()))


def test_repetition_penalty_equals_that_of_transformers() -> None:
    from transformers import RepetitionPenaltyLogitsProcessor

    logits = torch.randn(2, 50, generator=torch.Generator().manual_seed(0))
    ids = torch.tensor([[3, 3, 7], [1, 2, 3]])
    expected = RepetitionPenaltyLogitsProcessor(1.05)(ids, logits.clone())
    seen = torch.zeros(2, 50, dtype=torch.bool).scatter_(1, ids, True)
    assert torch.equal(penalise(logits, seen, 1.05), expected)


def test_uniforms_depend_only_on_the_seed() -> None:
    assert torch.equal(draw_uniforms([3, 4], 10)[1], draw_uniforms([4], 30)[0, :10])


def test_special_ids_of_the_real_vocabulary_are_the_default() -> None:
    assert TINY_REAL_VOCABULARY.text == FULL.text
    assert split_ids((5, 151645, 4096, 9, 4096), SPEECH_RULES, FULL) == ((5,), (9,))
