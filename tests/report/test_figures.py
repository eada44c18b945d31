"""Figures: bars begin at zero, names differ, cells hold the intervals, and no text leaves the figure."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from echat_eval.leaderboard.attribution import Attribution, Share
from echat_eval.leaderboard.build import OVERALL
from echat_eval.leaderboard.table_choice import TableChoice
from echat_eval.report import figure_style
from echat_eval.report.figure_attribution import draw_confusion
from echat_eval.report.figure_panels import MOST_ON_RADAR, draw_latency, draw_radar
from echat_eval.report.figure_style import WIDTHS, chinese_font, legend_below, styled
from echat_eval.report.figure_tasks import draw_bars, draw_forest, draw_heat_map
from echat_eval.report.figure_values import metrics_of
from echat_eval.report.runs import MergedRuns, merge_runs
from echat_eval.stats import cluster_mean
from echat_eval.store.run_folder import RunFolder
from tests.support.present import present
from tests.support.scripted_world import make_run, make_task, scripted_system

NAMES = [f"a-model-with-a-long-name-r16-step-{number}000" for number in range(1, 9)]


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> MergedRuns:
    """Return a run of eight systems whose names begin alike."""
    root = tmp_path_factory.mktemp("many")
    tasks = [make_task(root / "tasks", "emotion", 3), make_task(root / "tasks", "age", 3)]
    systems = [scripted_system(name, 0.1 * number) for number, name in enumerate(NAMES, 1)]
    return merge_runs([make_run(root / "run", tasks, systems)], headline="judge_r0")


def texts_outside(figure: Any) -> list[str]:
    """Return the texts of a figure that leave it; numbers of a scale stand beyond its ends and are not drawn."""
    figure.canvas.draw()
    whole = figure.bbox
    found = []
    for text in figure.findobj(lambda artist: hasattr(artist, "get_text")):
        shown = text.get_visible() and text.get_text().strip()
        if shown and not re.fullmatch(r"[−-]?[\d.]+", text.get_text()):
            box = text.get_window_extent()
            # One point of tolerance: the heights of letters are rounded.
            if min(box.x0 - whole.x0, whole.x1 - box.x1, box.y0 - whole.y0, whole.y1 - box.y1) < -1.5:
                found.append(text.get_text())
    return found


@pytest.mark.parametrize("width", list(WIDTHS.values()))
@pytest.mark.parametrize("draw", [draw_forest, draw_bars, draw_heat_map, draw_latency])
def test_every_text_is_inside_the_figure_and_names_differ(many: MergedRuns, draw: Any, width: float) -> None:
    (metric,) = metrics_of(many)
    with styled(None) as plt:
        arguments = {} if draw is draw_latency else {"metric": metric}
        figure = draw(plt, many, width, None, **arguments)
        assert texts_outside(figure) == []
        legends = [[text.get_text() for text in legend.get_texts()] for legend in figure.legends]
        rows = [label.get_text() for label in figure.axes[0].get_yticklabels()]
        names = legends[0] if legends else rows
        assert len({name for name in names if "step" in name}) == len(NAMES)
        plt.close(figure)


def test_bars_begin_at_zero_and_end_at_the_mean(many: MergedRuns) -> None:
    (metric,) = metrics_of(many)
    with styled(None) as plt:
        figure = draw_bars(plt, many, WIDTHS["page"], None, metric=metric)
        bars = [patch for patch in figure.axes[0].patches if patch.get_height()]
        assert {bar.get_y() for bar in bars} == {0}
        means = [
            present(summary.estimate).value
            for (_, _, name), summary in present(many.board).summaries.items()
            if name == "judge_r0"
        ]
        assert sorted(bar.get_height() for bar in bars) == pytest.approx(sorted(means))
        assert figure.axes[0].get_ylim()[0] <= 0
        plt.close(figure)


def test_a_heat_map_prints_every_mean_with_its_interval(many: MergedRuns) -> None:
    (metric,) = metrics_of(many)
    with styled(None) as plt:
        figure = draw_heat_map(plt, many, WIDTHS["page"], None, metric=metric)
        cells = {text.get_text() for text in figure.axes[0].texts}
        e = present(present(many.board).summaries[NAMES[0], OVERALL, "judge_r0"].estimate)
        assert f"{e.value:.1f}\n[{e.low:.1f}, {e.high:.1f}]" in cells
        plt.close(figure)


def test_a_heat_map_in_a_column_has_whole_intervals_or_none(usual_run: RunFolder) -> None:
    runs = merge_runs([usual_run], headline="judge_r0")
    (metric,) = metrics_of(runs)
    board = present(runs.board)
    more = [f"task-{number}" for number in range(5)]
    copied = {
        (s, t, metric.name): board.summaries[s, OVERALL, metric.name] for s in board.roles for t in more
    }
    wide = replace(board, tasks=(*board.tasks, *more), summaries={**board.summaries, **copied})
    with styled(None) as plt:
        for drawn, width, bounded in (
            (replace(runs, board=wide), "column", False),
            (replace(runs, board=wide), "page", True),
            (runs, "column", True),
        ):
            figure = draw_heat_map(plt, drawn, WIDTHS[width], None, metric=metric)
            assert texts_outside(figure) == []
            panel = figure.axes[0]
            intervals = [line for text in panel.texts for line in text.get_text().splitlines()[1:]]
            assert bool(intervals) == bounded == ("95 % interval" in figure.get_suptitle())
            assert all(re.fullmatch(r"\[\S+, \S+\]", line) for line in intervals)
            step = panel.transData.transform((1, 0))[0] - panel.transData.transform((0, 0))[0]
            labels = panel.get_xticklabels()
            assert all(t.get_rotation() or t.get_window_extent().width < step for t in labels)
            assert all(text.get_window_extent().width < step for text in panel.texts)
            plt.close(figure)


def test_a_system_looks_the_same_in_every_figure_and_floors_differ(usual_run: RunFolder) -> None:
    choice = TableChoice(metrics=("cue_contrast", "judge_r0", "reply_wer"))
    runs = merge_runs([usual_run], choice=choice)
    looks: dict[str, set[str]] = {}
    with styled(None) as plt:
        for metric in metrics_of(runs):
            figure = draw_bars(plt, runs, WIDTHS["page"], None, metric=metric)
            (legend,) = figure.legends
            names = [text.get_text() for text in legend.get_texts()]
            for name, handle in zip(names, legend.legend_handles, strict=True):
                if "(" not in name and name != "chance":
                    looks.setdefault(name, set()).add(f"{handle.get_edgecolor()}{handle.get_hatch()}")
            plt.close(figure)
        board = present(runs.board)
        floors = replace(runs, board=replace(board, roles=dict.fromkeys(board.roles, "floor")))
        figure = draw_bars(plt, floors, WIDTHS["page"], None, metric=metrics_of(runs)[0])
        assert len({line.get_marker() for line in figure.legends[0].legend_handles}) == len(board.roles)
        plt.close(figure)
    assert len(looks) > 1
    assert [len(found) for found in looks.values()] == [1] * len(looks)


def test_a_radar_needs_three_tasks_and_holds_six_systems(
    many: MergedRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    from echat_eval.report import figure_panels

    with styled(None) as plt:
        assert "at least three tasks" in draw_radar(plt, many, 7.0, None)
        monkeypatch.setattr(figure_panels, "tasks_with", lambda *_: ["emotion", "age", "emotion", "age"])
        figure = draw_radar(plt, many, WIDTHS["column"], None)
        assert len(figure.axes[0].lines) == MOST_ON_RADAR
        assert "2 more in the forest" in figure.get_suptitle().replace("\n", " ")
        assert "the centre is " in figure.get_suptitle().replace("\n", " ")
        assert texts_outside(figure) == []
        plt.close(figure)


def test_parts_of_a_bar_and_its_legend_have_one_order_and_differ_in_grey(
    many: MergedRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    from echat_eval.report import figure_attribution

    right, between, wrong = (
        Attribution(perceived=perceived, worded=worded, voiced=None)
        for perceived, worded in ((True, True), (True, False), (False, False))
    )
    whole = cluster_mean([100.0, 0.0], [0, 1])
    bars = {
        (NAMES[0], "emotion"): [Share(outcome=one, label="all", estimate=whole) for one in (right, wrong)],
        (NAMES[1], "emotion"): [Share(outcome=one, label="all", estimate=whole) for one in (between, wrong)],
    }
    monkeypatch.setattr(figure_attribution, "attributions_of", lambda _: bars)
    with styled(None) as plt:
        figure = figure_attribution.draw_attribution(plt, many, WIDTHS["column"], None)
        (legend,) = figure.legends
        assert [text.get_text() for text in legend.get_texts()] == [
            "perceived, worded right",
            "perceived, worded wrong",
            "not perceived, worded wrong",
        ]
        assert len({patch.get_hatch() for patch in legend.get_patches()}) == 3
        assert texts_outside(figure) == []
        plt.close(figure)


@pytest.mark.parametrize("width", list(WIDTHS.values()))
def test_panels_of_confusions_fit_a_page_with_titles_apart(many: MergedRuns, width: float) -> None:
    with styled(None) as plt:
        figure = draw_confusion(plt, many, width, None, cue="emotion")
        assert texts_outside(figure) == []
        assert figure.get_size_inches()[1] < 9
        boxes = [panel.title.get_window_extent() for panel in figure.axes if panel.get_visible()]
        assert not any(one.overlaps(other) for n, one in enumerate(boxes) for other in boxes[:n])
        plt.close(figure)


def test_figures_follow_the_chosen_metrics(usual_run: RunFolder) -> None:
    assert [m.name for m in metrics_of(merge_runs([usual_run]))] == ["cue_contrast"]
    choice = TableChoice(metrics=("judge_r0", "reply_wer"), headline="reply_wer")
    assert [m.name for m in metrics_of(merge_runs([usual_run], choice=choice))] == ["reply_wer", "judge_r0"]


@pytest.mark.parametrize("draw", [draw_forest, draw_bars, draw_heat_map])
def test_a_metric_without_a_value_is_not_drawn(usual_run: RunFolder, draw: Any) -> None:
    runs = merge_runs([usual_run], headline="judge_r0")
    board = present(runs.board)
    empty = {key: replace(summary, estimate=None) for key, summary in board.summaries.items()}
    with styled(None) as plt:
        hollow = replace(runs, board=replace(board, summaries=empty))
        assert draw(plt, hollow, WIDTHS["page"], None, metric=board.headline) == "no system has a value"


def test_a_legend_makes_the_figure_higher_and_stays_in_its_width() -> None:
    with styled(None) as plt:
        figure, panel = plt.subplots(layout="constrained", figsize=(3.35, 2.0))
        handles = [panel.plot([0, 1], [n, n])[0] for n in range(9)]
        legend_below(figure, handles, [f"a system with a long name {n}" for n in range(9)])
        assert figure.get_size_inches()[1] > 3
        assert texts_outside(figure) == []
        plt.close(figure)


def test_a_font_that_was_installed_later_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib import font_manager

    added: list[str] = []
    entry = type("Font", (), {"name": "Other", "fname": "/old.ttf"})
    listed = [entry]

    def add(path: str) -> None:
        added.append(path)
        listed.append(type("Font", (), {"name": "Noto Sans CJK SC", "fname": path}))

    manager = type("Manager", (), {"ttflist": listed, "addfont": staticmethod(add)})
    monkeypatch.setattr(font_manager, "fontManager", manager)
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: ["/old.ttf", "/new.ttc"])
    assert chinese_font() == "Noto Sans CJK SC"
    assert added == ["/new.ttc"]
    assert figure_style.CHINESE_FONTS[0] == "Noto Sans CJK SC"
