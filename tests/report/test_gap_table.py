"""The listening gap of a report, by match rates that people rated."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from echat_eval.errors import BadData
from echat_eval.io.ratings import Rating, ratings_csv, read_ratings_csv
from echat_eval.labels import SHIPPED
from echat_eval.records import Reply, Response, Sample, Score
from echat_eval.report.gap_table import gap_table, people_gaps
from echat_eval.report.provenance import provenance
from echat_eval.report.rating.match import match_rates
from echat_eval.report.runs import MergedRuns
from echat_eval.scorers.understanding import WAR
from tests.support.cases import case
from tests.support.present import present

LABELS = ("sad", "happy")


def asked_runs(groups: int) -> MergedRuns:
    """Return rows of a system that names every label when asked; the match rates come from people."""
    samples: dict[tuple[str, str], Sample] = {}
    scores: dict[tuple[str, str, str], dict[str, Score]] = {}
    for n in range(groups):
        for label in LABELS:
            made = case(f"{n}{label}", None).sample
            sample = replace(made, cues={"emotion": label}, contrast_group=f"g{n}", transcript=f"words {n}")
            asks = replace(sample, task="emotion-asks-emotion", asks="emotion")
            samples |= {(s.task, s.id): s for s in (sample, asks)}
            scores["mine", asks.task, asks.id] = {
                WAR.name: Score(
                    key="",
                    system="mine",
                    task=asks.task,
                    sample_id=asks.id,
                    metric=WAR.name,
                    state="value",
                    value=100.0,
                    evidence={"answered": label},
                )
            }
    return MergedRuns(
        samples=samples,
        responses={},
        annotations={},
        scores=scores,
        roles={"mine": "system", "reference": "ceiling"},
        tasks={},
        board=None,
        perceptions={},
        manifests=[],
        cues=SHIPPED,
    )


def rated(path: Path, groups: int, *, more: tuple[Rating, ...] = ()) -> Path:
    """Write answers of two raters: replies of people match in 3 of 4 answers, those of the system in 5 of 8."""

    def rating(system: str, name: str, rater: str, value: float) -> Rating:
        return Rating(
            rater=rater,
            system=system,
            task="emotion",
            sample_id=name,
            dimension="match",
            value=value,
            low=0,
            high=1,
        )

    found = []
    for n in range(groups):
        for k, label in enumerate(LABELS):
            for r, rater in enumerate(("ann", "bob")):
                answer = 4 * (n % 2) + 2 * k + r  # 0 to 7
                found.append(rating("mine", f"{n}{label}", rater, float(answer < 5)))
                found.append(rating("reference", f"{n}{label}", rater, float(answer % 4 != 3)))
    path.write_text(ratings_csv([*found, *more]), encoding="utf-8")
    return path


def test_the_gap_by_people_is_that_of_a_hand_count(tmp_path: Path) -> None:
    runs = asked_runs(12)
    (gap,) = people_gaps(rated(tmp_path / "ratings.csv", 12), runs)
    assert present(gap.matched.observed).value == pytest.approx(62.5)
    assert present(gap.gap.observed).value == pytest.approx(100 - 62.5)
    # All that can be reached when asked, and half of what the replies of people reach.
    assert present(gap.normalised).value == pytest.approx(100 * (1 - 12.5 / 25))
    assert present(gap.normalised).low is None  # with several raters
    table = present(gap_table(runs, tmp_path / "ratings.csv"))
    (block,) = table.blocks
    (row,) = block.rows
    assert (block.title, row.label) == ("emotion, replies matched by: people", "mine")
    values = [cell.value for cell in row.cells]
    assert values[:4] == pytest.approx([24, 100, 62.5, 37.5])
    assert all("ratings" in cell.sources and "several scores" in cell.sources for cell in row.cells)
    assert any("over raters and replies" in note for note in table.notes)


def answers_of(
    path: Path, raters: Sequence[str], groups: int, value: Callable[[str, int, int], float]
) -> Path:
    """Write each rater's answers about the replies of the system, by rater, group and voice."""
    rows = [
        Rating(
            rater=rater,
            system="mine",
            task="emotion",
            sample_id=f"{n}{label}",
            dimension="match",
            value=value(rater, n, k),
            low=0,
            high=1,
        )
        for rater in raters
        for n in range(groups)
        for k, label in enumerate(LABELS)
    ]
    path.write_text(ratings_csv(rows), encoding="utf-8")
    return path


def test_the_interval_by_people_is_over_raters_and_replies(tmp_path: Path) -> None:
    """With a right answer to every question, the gap is the mirror image of the match rate by people."""
    rng = random.Random(7)
    path = answers_of(tmp_path / "a.csv", "abcdefghijklmnop", 30, lambda *_: float(rng.random() < 0.7))
    runs = asked_runs(30)
    (gap,) = people_gaps(path, runs)
    groups = {key: str(sample.contrast_group) for key, sample in runs.samples.items()}
    rate = match_rates(read_ratings_csv(path), groups)["mine", "match"].estimate
    matched, observed = present(gap.matched.observed), present(gap.gap.observed)
    assert (matched.value, matched.low, matched.high) == pytest.approx((rate.value, rate.low, rate.high))
    mirrored = 100 - present(rate.high), 100 - present(rate.low)
    assert (observed.low, observed.high) == pytest.approx(
        mirrored, abs=1
    )  # a rate's interval minds its range


def test_raters_who_differ_widen_the_interval_and_one_rater_does_not(tmp_path: Path) -> None:
    def width(raters: Sequence[str]) -> float:
        path = answers_of(
            tmp_path / "a.csv", raters, 40, lambda who, n, k: float(who == "mild" or (n + k) % 3 > 0)
        )
        (gap,) = people_gaps(path, asked_runs(40))
        found = present(gap.gap.observed)
        return present(found.high) - present(found.low)

    assert width(["mild", "strict", "stern"]) > 60
    assert width(["strict"]) < 25


def test_provenance_names_the_rows_and_the_ratings_of_a_gap(tmp_path: Path) -> None:
    runs, path = asked_runs(6), rated(tmp_path / "ratings.csv", 6)
    runs = replace(runs, responses={key: response_to(key) for key in runs.scores})
    facts = provenance(runs, [present(gap_table(runs, path))])
    cell = next(cell for cell in facts["cells"] if cell["column"] == "gap")
    rows = [facts["scores"][n] for first, end in cell["scores"] for n in range(first, end)]
    assert [row[1] for row in rows] == [WAR.name] * 12  # every answer about a sample
    assert {tuple(facts["responses"][row[0]][:2]) for row in rows} == {("mine", "emotion-asks-emotion")}
    path.write_text(path.read_text().replace("bob", "eve"), encoding="utf-8")
    (other,) = (
        c
        for c in provenance(runs, [present(gap_table(runs, path))])["cells"]
        if (c["column"], c["row"]) == ("gap", "mine")
    )
    assert other["value"] == cell["value"]
    assert other["sha256"] != cell["sha256"]  # other ratings


def response_to(key: tuple[str, str, str]) -> Response:
    system, task, name = key
    return Response(key="r", system=system, task=task, sample_id=name, state="value", reply=Reply(text="sad"))


def test_without_answers_or_match_questions_there_is_no_table(tmp_path: Path) -> None:
    assert gap_table(asked_runs(3)) is None
    (tmp_path / "ratings.csv").write_text(ratings_csv([]), encoding="utf-8")
    assert gap_table(asked_runs(3), tmp_path / "ratings.csv") is None


def test_ratings_of_other_samples_are_refused(tmp_path: Path) -> None:
    path = rated(tmp_path / "ratings.csv", 4)
    with pytest.raises(BadData, match="sample '3sad' of task 'emotion' is not in these runs"):
        people_gaps(path, asked_runs(3))
