"""Label maps, SenseVoice tags and model folders; no weights are needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from echat_eval.annotators import ANNOTATORS
from echat_eval.annotators.label_map import LabelMap, decide
from echat_eval.annotators.sensevoice import read_tags
from echat_eval.annotators.transformers_audio import read_map
from echat_eval.annotators.weights import folder_licence, folder_sha256, model_folder
from echat_eval.errors import BadData, NotInstalled, UsageError
from echat_eval.labels import LABELS

NINE = [
    "生气/angry",
    "厌恶/disgusted",
    "恐惧/fearful",
    "开心/happy",
    "中立/neutral",
    "其他/other",
    "难过/sad",
    "吃惊/surprised",
    "<unk>",
]


def test_emotion2vec_classes_map_to_benchmark_labels() -> None:
    labels = LabelMap.of("emotion", NINE)
    assert list(labels.labels.values()) == [
        "anger",
        "disgust",
        "fear",
        "happy",
        "neutral",
        "other",
        "sad",
        "surprise",
        "unknown",
    ]
    assert labels.unmapped == ()
    assert labels.never == ()


def test_decision_below_the_threshold_is_unknown() -> None:
    labels = LabelMap.of("emotion", NINE)
    shares = dict.fromkeys(NINE, 0.05) | {"难过/sad": 0.6}
    assert decide(shares, labels, threshold=0.6).label == "sad"
    assert decide(shares, labels, threshold=0.61).label == "unknown"
    assert decide(shares, labels, threshold=0.61).confidence == pytest.approx(0.6)


def test_probabilities_of_classes_with_the_same_label_add_up() -> None:
    labels = LabelMap.of("event", ["Laughter", "giggle", "Cough"], {"giggle": "laugh"})
    decision = decide({"Laughter": 0.3, "giggle": 0.3, "Cough": 0.4}, labels, threshold=0.5)
    assert decision.label == "laugh"
    assert decision.confidence == pytest.approx(0.6)


def test_class_mapped_to_unknown_abstains() -> None:
    labels = LabelMap.of("emotion", ["angry", "<unk>"])
    assert decide({"angry": 0.1, "<unk>": 0.9}, labels, threshold=0.5).label == "unknown"


def test_unmapped_classes_and_unreachable_labels_are_listed() -> None:
    labels = LabelMap.of("event", ["Laughter", "Speech", "Music"])
    assert labels.unmapped == ("Speech", "Music")
    assert "sigh" in labels.never


@pytest.mark.parametrize(
    ("classes", "declared", "message"),
    [
        (["a", "b"], {}, "none of the classes"),
        (["a"], {"b": "sad"}, "names class 'b'"),
        (["a"], {"a": "angry"}, "'angry' is no emotion"),
    ],
)
def test_invalid_label_map_is_refused(classes: list[str], declared: dict[str, str], message: str) -> None:
    with pytest.raises(BadData, match=message):
        LabelMap.of("emotion", classes, declared)


@pytest.mark.parametrize(
    ("text", "emotion", "event", "unmapped"),
    [
        ("<|zh|><|HAPPY|><|Laughter|><|withitn|>好", "happy", "laugh", []),
        ("<|en|><|EMO_UNKNOWN|><|Speech|><|woitn|>so", "unknown", "none", []),
        ("<|en|><|NEUTRAL|><|BGM|><|woitn|>so", "neutral", "unknown", ["BGM"]),
        ("<|en|><|SAD|><|Breath|><|woitn|>so", "sad", "unknown", ["Breath"]),
        ("<|nospeech|><|EMO_UNKNOWN|><|Cry|><|woitn|>", "unknown", "cry", []),
        ("plain words", "unknown", "unknown", []),
        ("<|en|><|WISTFUL|><|Cough|><|woitn|>so", "unknown", "cough", ["WISTFUL"]),
    ],
)
def test_sensevoice_tags_are_mapped(text: str, emotion: str, event: str, unmapped: list[str]) -> None:
    values = read_tags(text)
    assert (values["emotion"], values["event"], values["unmapped"]) == (emotion, event, unmapped)
    assert "<|" not in values["hypothesis"]
    assert set(values["never"]) < set(LABELS["event"])


def test_label_map_is_parsed_from_text() -> None:
    assert read_map("A=anger; B = sad") == {"A": "anger", "B": "sad"}
    with pytest.raises(BadData, match="class=label"):
        read_map("A:anger")


def test_missing_model_is_not_downloaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(NotInstalled, match=r"nobody/no-such-model"):
        model_folder("nobody/no-such-model")


def snapshot(folder: Path, revision: str | None = None) -> Path:
    folder.mkdir(parents=True)
    (folder / "model.pt").write_bytes(b"1")
    if revision is not None:
        (folder / ".mv").write_text(f"Revision:{revision},CreatedAt:1700000000")
    return folder


@pytest.mark.parametrize(
    "layout",
    [
        "hub/models/iic/Sense___Voice",
        "models/iic/Sense___Voice",
        "hub/iic/Sense.Voice",
        "iic/Sense.Voice",
        "models/iic--Sense.Voice/snapshots/v1",
    ],
)
def test_modelscope_model_is_found_in_each_cache_layout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path))
    with pytest.raises(NotInstalled, match=r"modelscope download --model iic/Sense\.Voice"):
        model_folder("iic/Sense.Voice", hub="ms")
    folder = snapshot(tmp_path / layout)
    assert model_folder("iic/Sense.Voice", hub="ms") == folder


def test_default_modelscope_cache_is_in_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MODELSCOPE_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = snapshot(tmp_path / ".cache/modelscope/hub/models/iic/x")
    assert model_folder("iic/x", hub="ms") == folder


def test_modelscope_revision_is_the_requested_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path))
    flat = snapshot(tmp_path / "hub/models/iic/x", "v2.0.4")
    assert model_folder("iic/x", hub="ms", revision="v2.0.4") == flat
    with pytest.raises(NotInstalled, match=r"--revision v2\.0\.5"):
        model_folder("iic/x", hub="ms", revision="v2.0.5")
    unmarked = snapshot(tmp_path / "hub/models/iic/y")
    assert model_folder("iic/y", hub="ms") == unmarked
    with pytest.raises(NotInstalled):  # its revision is not stated
        model_folder("iic/y", hub="ms", revision="v1")
    one, two = (snapshot(tmp_path / f"models/iic--z/snapshots/v{n}") for n in (1, 2))
    assert model_folder("iic/z", hub="ms", revision="v1") == one != two
    with pytest.raises(UsageError, match=r"several revisions \(v1, v2\)"):
        model_folder("iic/z", hub="ms")
    with pytest.raises(NotInstalled):
        model_folder("../x", hub="ms")


def test_folder_hash_covers_weights_and_settings_but_no_readme(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"1")
    (tmp_path / "config.json").write_text("{}")
    first = folder_sha256(tmp_path)
    (tmp_path / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n")
    assert folder_sha256(tmp_path) == first
    assert folder_licence(tmp_path) == "cc-by-nc-4.0"
    (tmp_path / "config.json").write_text('{"a": 1}')
    second = folder_sha256(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"22")
    assert len({first, second, folder_sha256(tmp_path)}) == 3


def test_every_annotator_module_exists() -> None:
    from importlib.util import find_spec

    for path in ANNOTATORS.values():
        assert find_spec(path.partition(":")[0]) is not None
