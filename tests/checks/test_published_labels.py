"""Agreement with people on public data: files of VStyle's and TRACE's forms, made here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from scipy import stats as scipy_stats

from echat_eval.checks.published_labels import compare_opinions, compare_pairs
from echat_eval.cli.check import check
from echat_eval.errors import BadData, Exit, UsageError
from echat_eval.importers.human_labels import DIMENSIONS
from tests.support.present import present

ANSWERS = ("1", "2", "both_good", "both_bad")


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def vstyle(root: Path, noise: float = 0.5) -> tuple[Path, Path]:
    """Write opinion scores of three people on 60 replies to 20 instructions, and a judge's rows."""
    rng = np.random.default_rng(2)
    quality = rng.uniform(1, 5, 60)

    def rows(name: str, values: np.ndarray[Any, Any]) -> list[dict[str, Any]]:
        return [
            {
                "id": n + 1,
                "instruct_id": n // 3,
                "ability": ("empathy/anger", "role_play/scenario")[n % 2],
                "model_name": f"m{n % 3}",
                name: float(np.clip(np.rint(value), 1, 5)),
            }
            for n, value in enumerate(values)
        ]

    for person in ("a", "b", "c"):
        write_rows(root / "en" / f"{person}.jsonl", rows("mos", quality + rng.normal(0, 0.7, 60)))
    judged = rows("gemini_score", quality + rng.normal(0, noise, 60))
    judged[0]["gemini_score"] = "API failed: quota"
    return root / "en", write_rows(root / "en_res.jsonl", judged)


def trace(root: Path, *, right: float = 0.8) -> tuple[Path, Path]:
    """Write labels of 90 pairs of 30 instructions, and a judge who names the same answer this often."""
    rng = np.random.default_rng(3)
    labels, judged = [], []
    for n in range(90):
        label = {name: str(rng.choice(ANSWERS)) for name in DIMENSIONS}
        labels.append({"index": n, "instruction_id": n % 30, "model_a": "x", "model_b": "y", "label": label})
        own = {k: v if rng.random() < right else str(rng.choice(ANSWERS)) for k, v in label.items()}
        judged.append({"index": n, "dimension_ratings": own, "fused_rating": own.pop("overall")})
    (root / "labels.json").write_text(json.dumps(labels), encoding="utf-8")
    (root / "verdicts.json").write_text(json.dumps(judged), encoding="utf-8")
    return root / "labels.json", root / "verdicts.json"


def run(labels: Path, *words: str) -> Result:
    return CliRunner().invoke(check, ["judge", "--labels", str(labels), *words], standalone_mode=False)


def test_opinions_agree_as_the_published_script_computes_them(tmp_path: Path) -> None:
    folder, scores = vstyle(tmp_path)
    found = {row.system: row for row in compare_opinions(folder, scores)}
    assert set(found) == {"all", "empathy", "role_play"}
    assert (found["all"].raters, found["all"].unjudged) == (3, 1)
    # Independent: each person in turn left out, by scipy, over the replies that the judge graded.
    people = np.array(
        [[json.loads(x)["mos"] for x in (folder / f"{p}.jsonl").read_text().splitlines()] for p in "abc"]
    )[:, 1:]
    judge = np.array([json.loads(x)["gemini_score"] for x in scores.read_text().splitlines()][1:])
    expected = np.mean(
        [scipy_stats.spearmanr(judge, np.delete(people, n, axis=0).mean(axis=0)).statistic for n in range(3)]
    )
    spearman = found["all"].judge["Spearman"]
    assert spearman.value == pytest.approx(expected)
    assert spearman.clusters == 20
    assert present(spearman.low) < expected < present(spearman.high)


def test_pairs_count_the_same_answer_and_the_same_winner(tmp_path: Path) -> None:
    labels, scores = trace(tmp_path)
    found = {row.dimension: row for row in compare_pairs(labels, scores)}
    assert tuple(found) == DIMENSIONS
    people = [row["label"]["overall"] for row in json.loads(labels.read_text())]
    judge = [row["fused_rating"] for row in json.loads(scores.read_text())]
    assert present(found["overall"].same).value == pytest.approx(
        100 * np.mean([a == b for a, b in zip(people, judge, strict=True)])
    )
    decided = [(a, b) for a, b in zip(people, judge, strict=True) if a in "12"]
    right = [50 if b not in ("1", "2") else 100 * (a == b) for a, b in decided]
    assert found["overall"].winner.value == pytest.approx(np.mean(right))
    assert (found["overall"].winner.n, present(found["overall"].same).clusters) == (len(decided), 30)


def test_a_judge_that_always_names_a_tie_is_at_50(tmp_path: Path) -> None:
    labels, scores = trace(tmp_path)
    rows = [{"index": n, "label": {"overall": "both_good"}} for n in range(90)]
    scores.write_text(json.dumps(rows))
    (found,) = compare_pairs(labels, scores)
    assert (found.winner.value, found.winner.low) == (50, None)


def test_the_command_prints_both_forms(tmp_path: Path) -> None:
    for number, (labels, scores) in enumerate((vstyle(tmp_path), trace(tmp_path))):
        done = run(labels, "--scores", str(scores))
        assert done.return_value == Exit.DONE, done.output
        assert ("same winner, %" if number else "mos, empathy") in done.output
        assert not number or max(map(len, done.output.splitlines())) <= 80


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ([{"index": 1, "label": {"overall": "3"}}], "overall is '3', expected 1, 2, both_good or both_bad"),
        ([{"index": 1}], "has no 'label' and no 'dimension_ratings'"),
        ([{"label": {}}], "has no 'index'"),
        ([{"index": 1, "label": {}}, {"index": 1, "label": {}}], "a second row for pair 1"),
        ([{"index": 999, "label": {"overall": "1"}}], "no pair that"),
        (["x"], "expected a JSON object"),
        ([], "empty"),
    ],
)
def test_rows_of_another_form_are_refused_in_one_line(
    tmp_path: Path, change: list[Any], message: str
) -> None:
    labels, scores = trace(tmp_path)
    scores.write_text(json.dumps(change))
    with pytest.raises(BadData, match=message) as caught:
        compare_pairs(labels, scores)
    assert "\n" not in str(caught.value)


def test_labels_that_are_all_ties_compare_no_winner(tmp_path: Path) -> None:
    labels, scores = trace(tmp_path)
    rows = json.loads(labels.read_text())
    for row in rows:
        row["label"] = dict.fromkeys(DIMENSIONS, "both_bad")
    labels.write_text(json.dumps(rows))
    with pytest.raises(BadData, match="every label is a tie"):
        compare_pairs(labels, scores)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"id": 1, "instruct_id": 1, "mos": 6}], "mos is '6', expected a number from 1 to 5"),
        ([{"id": 1, "mos": 3}], "no 'instruct_id'"),
        ([{"id": 1, "instruct_id": 0, "mos": 3}] * 2, "rated twice by 'a'"),
        ([{"id": 999, "instruct_id": 0, "mos": 3}], "no reply that the annotators"),
    ],
)
def test_opinions_of_another_form_are_refused(tmp_path: Path, rows: list[Any], message: str) -> None:
    folder, scores = vstyle(tmp_path)
    for person in "bc":
        (folder / f"{person}.jsonl").unlink()
    write_rows(folder / "a.jsonl", rows)
    with pytest.raises(BadData, match=message):
        compare_opinions(folder, scores)
    (folder / "a.jsonl").unlink()
    with pytest.raises(BadData, match=r"no \.jsonl"):
        compare_opinions(folder, scores)


def test_labels_need_scores(tmp_path: Path) -> None:
    labels, _ = trace(tmp_path)
    with pytest.raises(UsageError, match="--labels and --scores go together"):
        raise present(run(labels).exception)
