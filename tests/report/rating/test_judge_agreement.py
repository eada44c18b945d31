"""Agreement statistics against published examples and other libraries, and the checks that use them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import stats as scipy_stats

from echat_eval.checks.labelled import annotate_clips, read_clips
from echat_eval.cli.check import check
from echat_eval.errors import BadData, NotApplicable
from echat_eval.io.ratings import COLUMNS, Rating, ratings_csv, read_ratings_csv
from echat_eval.records import JudgeEvidence, Score
from echat_eval.report.rating.agreement import (
    interval_alpha,
    jackknifed,
    kendall,
    krippendorff_alpha,
    quadratic_kappa,
    spearman,
)
from echat_eval.report.rating.judge_agreement import STATISTICS, compare
from echat_eval.testing import ScriptedAnnotator
from tests.support.present import present

# Krippendorff (2011), "Computing Krippendorff's alpha-reliability", example C: 4 observers, 12 units.
OBSERVERS = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
    [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
]
UNITS = [[r for r in unit if r is not None] for unit in zip(*OBSERVERS, strict=True)]


@pytest.mark.parametrize(
    ("metric", "published"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)]
)
def test_krippendorff_alpha_of_the_published_example(metric: Any, published: float) -> None:
    assert krippendorff_alpha(UNITS, metric) == pytest.approx(published, abs=5e-4)


def test_alpha_without_pairs_is_none() -> None:
    assert krippendorff_alpha([[1], [2]]) is None
    assert krippendorff_alpha([[1, 1], [1, 1]]) is None
    with pytest.raises(BadData, match="ratio"):
        krippendorff_alpha([[1, 2]], "ratio")  # type: ignore[arg-type]


def test_quadratic_kappa_equals_statsmodels() -> None:
    from statsmodels.stats.inter_rater import cohens_kappa, to_table

    rng = np.random.default_rng(0)
    a = rng.integers(0, 6, 80)
    b = np.clip(a + rng.integers(-1, 2, 80), 0, 5)
    table = to_table(np.column_stack([a, b]), bins=np.arange(7) - 0.5)[0]
    expected = cohens_kappa(table, wt="quadratic", return_results=False)
    assert quadratic_kappa(a.astype(float), b.astype(float)) == pytest.approx(expected)


def test_rank_correlations_by_hand() -> None:
    # d = 0, 1, 1, 0: rho = 1 - 6 x 2 / (4 x 15) = 0.8; 5 concordant and 1 discordant pairs: tau = 4 / 6.
    a, b = np.array([1.0, 2, 3, 4]), np.array([1.0, 3, 2, 4])
    assert spearman(a, b) == pytest.approx(0.8)
    assert kendall(a, b) == pytest.approx(2 / 3)
    assert spearman(a, np.ones(4)) is kendall(np.ones(4), a) is None


def test_jackknife_of_a_mean_is_the_t_interval() -> None:
    from scipy import stats

    x = np.random.default_rng(1).normal(size=15)
    agreement = jackknifed(lambda i: float(x[i].mean()), list(range(15)))
    expected = stats.t.interval(0.95, 14, loc=x.mean(), scale=stats.sem(x))
    assert (agreement.low, agreement.high) == pytest.approx(expected)
    assert jackknifed(lambda i: float(x[i].mean()), [0] * 15).low is None


# -- ratings -------------------------------------------------------------------


def judged(points: Mapping[str, int], system: str = "s") -> list[Score]:
    return [
        Score(
            key=ident,
            system=system,
            task="emotion",
            sample_id=ident,
            metric="judge_echat_r1",
            state="value",
            value=20.0 * grade,
            evidence=JudgeEvidence(
                grades={"empathy": float(grade)},
                points=(float(grade),),
                variance=None,
                reasons=("",),
                models=("m",),
                servers=("",),
                verdicts=("k",),
                prompt_sha256=("p",),
                voice_emotion=None,
                tokens=(0, 0),
            ),
        )
        for ident, grade in points.items()
    ]


def rated(points: Mapping[str, list[int]], system: str = "s") -> list[Rating]:
    return [
        Rating(
            rater=f"r{n}",
            system=system,
            task="emotion",
            sample_id=ident,
            dimension="empathy",
            value=float(value),
            low=0,
            high=5,
        )
        for ident, values in points.items()
        for n, value in enumerate(values)
    ]


def test_agreement_of_identical_and_reversed_grades() -> None:
    people = {f"a{n}": [n % 6, n % 6] for n in range(24)}
    clusters = {("emotion", f"a{n}"): n // 2 for n in range(24)}
    same = compare(rated(people), judged({k: v[0] for k, v in people.items()}), clusters)
    reversed_ = compare(rated(people), judged({k: 5 - v[0] for k, v in people.items()}), clusters)
    assert [row.system for row in same] == ["all", "s"]
    assert list(same[0].judge) == list(STATISTICS)
    for statistic in STATISTICS:
        assert same[0].judge[statistic].value == pytest.approx(1)
        assert same[0].difference[statistic].value == pytest.approx(0)
    assert reversed_[0].judge["Spearman"].value == pytest.approx(-1)
    assert reversed_[0].difference["Spearman"].value == pytest.approx(-2)
    assert present(reversed_[0].judge["quadratic kappa"].value) < 0
    assert same[0].alpha.value == pytest.approx(1)
    assert (same[0].judge["Spearman"].clusters, same[0].raters, same[0].unjudged) == (12, 2, 0)


def noisy_ratings(raters: int, replies: int, seed: int = 0) -> tuple[list[Rating], list[Score]]:
    """Return ratings of replies, and a judge who is one more such rater."""
    rng = np.random.default_rng(seed)
    values = rng.normal(2.5, 1, replies)[:, None] + rng.normal(0, 1, (replies, raters + 1))
    grades = np.clip(np.rint(values), 0, 5).astype(int)
    people = {f"a{n}": row[:-1].tolist() for n, row in enumerate(grades)}
    return rated(people), judged({f"a{n}": int(row[-1]) for n, row in enumerate(grades)})


def test_a_judge_like_one_rater_differs_from_none() -> None:
    """Against the mean of all raters it would look better than they do among themselves."""
    ratings, scores = noisy_ratings(4, 200, seed=5)
    speakers = {("emotion", f"a{n}"): n // 8 for n in range(200)}
    row = compare(ratings, scores, speakers)[0]
    for name in STATISTICS:
        assert abs(present(row.difference[name].value)) < 0.1
        assert present(row.difference[name].low) < 0 < present(row.difference[name].high)
        both = present(row.judge[name].value) - present(row.one_rater[name].value)
        assert row.difference[name].value == pytest.approx(both)
    mean = [fmean([r.value for r in ratings if r.sample_id == f"a{n}"]) for n in range(200)]
    grade = [s.value / 20 for s in scores if s.value is not None]
    against_mean = krippendorff_alpha([[a, b] for a, b in zip(mean, grade, strict=True)], "interval")
    assert present(against_mean) > present(row.alpha.value) + 0.1


def test_left_out_agreement_by_hand() -> None:
    people, grades = {"a": [1, 2, 3], "b": [2, 2, 4], "c": [5, 4, 4], "d": [0, 3, 1]}, [1, 3, 5, 2]
    scores = judged(dict(zip(people, grades, strict=True)))
    row, table = compare(rated(people), scores, {})[0], np.array(list(people.values()), dtype=float)
    pairs = [(table[:, k], np.delete(table, k, axis=1).mean(axis=1)) for k in range(3)]
    expected = [scipy_stats.spearmanr(own, others).statistic for own, others in pairs]
    assert row.one_rater["Spearman"].value == pytest.approx(np.mean(expected))
    expected = [scipy_stats.kendalltau(grades, others).statistic for _, others in pairs]
    assert row.judge["Kendall's tau-b"].value == pytest.approx(np.mean(expected))


def test_raters_of_different_replies_are_compared_where_they_meet() -> None:
    ratings = list(rated({f"a{n}": [n % 5, n % 5, n % 5] for n in range(12)}))
    kept = [r for r in ratings if int(r.sample_id[1:]) % 3 != int(r.rater[1:])]  # two raters a reply
    row = compare(kept, judged({f"a{n}": n % 5 for n in range(12)}), {})[0]
    assert row.one_rater["Spearman"].value == pytest.approx(1)
    assert row.raters == 3


def test_one_rater_is_compared_with_the_judge_alone() -> None:
    row = compare(
        rated({f"a{n}": [n % 6] for n in range(12)}), judged({f"a{n}": n % 6 for n in range(12)}), {}
    )
    assert row[0].judge["Spearman"].value == pytest.approx(1)
    assert row[0].one_rater["Spearman"].value is row[0].difference["Spearman"].value is None
    assert row[0].alpha.value is None


def test_interval_alpha_of_two_raters_is_krippendorffs() -> None:
    a, b = np.random.default_rng(3).integers(0, 6, (2, 40)).astype(float)
    assert interval_alpha(a, b) == pytest.approx(krippendorff_alpha(list(zip(a, b, strict=True)), "interval"))
    assert interval_alpha(np.ones(3), np.ones(3)) is interval_alpha(a[:0], b[:0]) is None


def test_missing_verdicts_and_unrated_replies_are_excluded() -> None:
    missing = Score(key="x", system="s", task="emotion", sample_id="b", metric="m", state="missing")
    agreements = compare(
        rated({"a": [1, 2], "b": [3, 3], "c": [4, 4]}), [*judged({"a": 1, "c": 4, "d": 2}), missing], {}
    )
    assert agreements[0].alpha.n == 2
    assert agreements[0].unjudged == 1
    with pytest.raises(BadData, match="both rated and judged"):
        compare(rated({"z": [1]}), judged({"a": 1}), {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n", ":1: columns are"),
        (",".join(COLUMNS) + "\nr,s,t,i,empathy,good,0,5\n", ":2: value is 'good'"),
        (",".join(COLUMNS) + "\nr,s,t,i,empathy,nan,0,5\n", ":2: value nan is not from 0 to 5"),
        (",".join(COLUMNS) + "\nr,s,t,i,empathy,3,4\n", ":2: expected 8 columns"),
        (",".join(COLUMNS) + "\nr,s,t,i,empathy,6,0,5\n", ":2: value 6 is not from 0 to 5"),
        (
            ",".join(COLUMNS) + 2 * "\nr,s,t,i,empathy,4,0,5",
            ":3: rater 'r' has a value for 'empathy' of this reply in line 2 already",
        ),
    ],
)
def test_invalid_ratings_file_is_rejected_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "ratings.csv"
    path.write_text(text)
    with pytest.raises(BadData, match=message):
        read_ratings_csv(path)


def test_ratings_survive_a_round_trip_through_csv(tmp_path: Path) -> None:
    ratings = rated({"a": [1, 2], "b": [3, 3]}, system="=evil()")
    (tmp_path / "ratings.csv").write_text(ratings_csv(ratings))
    assert "'=evil()" in (tmp_path / "ratings.csv").read_text()
    assert read_ratings_csv(tmp_path / "ratings.csv") == ratings


def test_ratings_need_a_run() -> None:
    done = CliRunner().invoke(check, ["judge", "--ratings", "x.csv"], standalone_mode=False)
    assert "--ratings without --run" in str(done.exception)


# -- labelled clips -----------------------------------------------------------------


@pytest.fixture
def labelled(tones: Path) -> Path:
    folder = tones / "emotion"
    path = folder / "labelled.jsonl"
    rows = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    path.write_text(
        "".join(
            json.dumps(
                {
                    "audio": r["audio"],
                    "language": "en",
                    "transcript": "so it goes on",
                    "speaker": f"p{n // 2}",
                    "emotion": r["cues"]["emotion"],
                }
            )
            + "\n"
            for n, r in enumerate(rows)
        )
    )
    return path


def test_annotator_results_on_labelled_clips(labelled: Path) -> None:
    hypotheses = [
        "so it goes on",
        "so it goes",
        "so it went on",
        "so it goes on",
        "",
        "so it goes on",
        "so it goes on",
    ]
    emotions = ["happy", "sad", "happy", "happy", "happy", "sad", "unknown"]
    annotator = ScriptedAnnotator(
        [
            *(
                {"hypothesis": h, "emotion": e, "confidence": 0.75}
                for h, e in zip(hypotheses, emotions, strict=True)
            ),
            NotApplicable("not this one"),
        ]
    )
    report = annotate_clips(annotator, read_clips(labelled))
    assert (report.clips, report.not_applicable) == (8, 1)
    assert present(report.error_rate).value == pytest.approx(100 * 6 / 28)  # 1 + 1 + 4 errors of 7 x 4 words
    assert present(report.error_rate).clusters == 4
    # happy: 3 of 4 (one unknown); sad: 2 of 3.
    assert report.cues["emotion"].uar.value == pytest.approx((75 + 200 / 3) / 2)
    assert report.confusion["emotion"]["sad", "happy"] == 1
    assert report.confusion["emotion"]["happy", "unknown"] == 1
    assert report.calibration["emotion"].value == pytest.approx(abs(5 / 6 - 0.75))


def test_command_prints_its_results(labelled: Path) -> None:
    done = CliRunner().invoke(
        check, ["annotators", "--data", str(labelled), "--annotator", "acoustics"], standalone_mode=False
    )
    assert done.return_value == 0, done.output
    assert "acoustics: 8 clips" in done.output
    assert "holds none of the labels that it predicts" in done.output


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"audio": "../x.wav", "language": "en"}, "leaves the file's folder"),
        ({"audio": "link.wav", "language": "en"}, "a link that leaves the file's folder"),
        ({"audio": "x.wav"}, "key 'language' is missing"),
        ({"audio": "x.wav", "language": "en", "emotion": "angry"}, "write 'anger'"),
    ],
)
def test_invalid_clips_file_is_rejected(tmp_path: Path, row: dict[str, str], message: str) -> None:
    path = tmp_path / "labelled.jsonl"
    (tmp_path / "link.wav").symlink_to(tmp_path.parent / "elsewhere.wav")
    path.write_text(json.dumps(row) + "\n")
    with pytest.raises(BadData, match=message):
        read_clips(path)
