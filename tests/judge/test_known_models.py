"""Models that ship with settings: the rubrics' dated model, an open one, and values that a command gives instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from echat_eval.clients.chat import is_dated
from echat_eval.cost.prices import read_prices
from echat_eval.errors import BadData
from echat_eval.judge import judge_names, known_models, load_judge
from echat_eval.judge.known_models import known_model
from echat_eval.scorers.judge_settings import parse_judges, scorers_of_judge
from echat_eval.systems.shutdowns import shutdown_of


def test_the_default_models_are_dated_priced_and_not_announced_to_end() -> None:
    for name in judge_names():
        if load_judge(name).listens:
            continue
        model = load_judge(name).model
        assert is_dated(model)
        assert shutdown_of(model, None) is None
        assert read_prices().find(model, None) is not None


def test_the_dated_model_gets_its_parameters_unless_a_command_gives_others() -> None:
    for given in ("dated", "gpt-6-luna-2026-09-22"):
        (settings,) = parse_judges(given)
        judged = scorers_of_judge(settings, note=lambda _: None)[0]
        assert judged.judge_client.client.model == "gpt-6-luna-2026-09-22"
        assert judged.judge_client.client.token_parameter == "max_completion_tokens"
        assert judged.judge_client.parameters.temperature is None
    (settings,) = parse_judges({"model": "dated", "temperature": 1.0})
    assert scorers_of_judge(settings, note=lambda _: None)[0].judge_client.temperature == 1.0
    (elsewhere,) = parse_judges({"model": "gpt-6-luna-2026-09-22", "url": "http://127.0.0.1:1/v1"})
    assert scorers_of_judge(elsewhere, note=lambda _: None)[0].judge_client.temperature == 0


def test_the_open_model_has_an_address_and_a_command() -> None:
    (settings,) = parse_judges("text=open")
    known = known_models.known_models()["open"]
    assert (settings.name, settings.model, settings.url) == ("text", known.model, "http://127.0.0.1:8000/v1")
    assert known.served.startswith("vllm serve")
    (moved,) = parse_judges({"model": "open", "url": "http://127.0.0.1:9/v1"})
    assert moved.url == "http://127.0.0.1:9/v1"
    assert known_model(known.model, known.url) is known
    assert known_model(known.model, None) is None


def test_a_damaged_table_names_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "judges.yaml").write_text("m: {model: m}")
    monkeypatch.setattr(known_models, "data_folder", lambda _: tmp_path)
    known_models.known_models.cache_clear()
    try:
        with pytest.raises(BadData, match=r"baselines/judges\.yaml:1: m: "):
            known_models.known_models()
    finally:
        known_models.known_models.cache_clear()
