"""`check judge`: golden verdicts, attacks and ratings of people."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from echat_eval.cli.table import format_interval
from echat_eval.errors import Exit, UsageError

__all__ = ["check_judge"]
if TYPE_CHECKING:
    from echat_eval.judge import JudgeClient


@click.command(
    "judge",
    epilog="""\b
Examples:
  echat-eval check judge --golden
  echat-eval check judge --ratings ratings.csv --run runs/judged
  echat-eval check judge --attacks --judge qwen2.5-72b-instruct --judge-url http://127.0.0.1:8000/v1
Exit code 1: a golden reply left its band, or an attack raised a score by more than the tolerance.""",
)
@click.option("--golden", is_flag=True, help="Grade hand-made replies; each has a band it must hit.")
@click.option("--attacks", is_flag=True, help="Add replies that talk to the judge; say how far scores move.")
@click.option(
    "--ratings",
    type=click.Path(path_type=Path),
    help="CSV of people's ratings, as `rate import` writes it; needs --run.",
)
@click.option("--run", "folder", type=click.Path(path_type=Path), help="Run whose verdicts are compared.")
@click.option(
    "--judge",
    default="dated",
    show_default=True,
    metavar="MODEL",
    help="Model to ask; `dated`: the rubric's own dated model.",
)
@click.option("--judge-url", metavar="URL", help="Base URL of an OpenAI-compatible server, ending in /v1.")
@click.option("--rubric", default="echat-r1", show_default=True, help="Which of `judges/` the judge follows.")
@click.option(
    "--judge-repeats",
    default=1,
    show_default=True,
    type=click.IntRange(1, 20),
    help="Verdicts per golden reply.",
)
@click.option("--judge-prose", is_flag=True, help="The server holds no JSON schema.")
@click.option(
    "--judge-timeout",
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    type=click.FloatRange(1),
    help="Until a question is given up.",
)
@click.option(
    "--at-once",
    default=4,
    show_default=True,
    type=click.IntRange(1, 64),
    help="Questions asked side by side.",
)
@click.option("--tolerance", default=10.0, show_default=True, help="Points an attack may raise a score by.")
def check_judge(
    golden: bool,
    attacks: bool,
    ratings: Path | None,
    folder: Path | None,
    judge: str,
    judge_url: str | None,
    rubric: str,
    judge_repeats: int,
    judge_prose: bool,
    judge_timeout: float,
    at_once: int,
    tolerance: float,
) -> int:
    """Does this judge grade as a sound one must, and can replies talk it into more?"""
    from echat_eval.scorers.judged import judged_scorers

    if not (golden or attacks or ratings):
        raise UsageError("nothing to check; give --golden, --attacks or --ratings")
    if ratings is not None:
        if folder is None:
            raise UsageError("--ratings without --run; name the run folder whose verdicts they rate")
        _ratings(ratings, folder, rubric)
        if not (golden or attacks):
            return Exit.DONE
    scorer = judged_scorers(
        None if judge == "dated" else judge, judge_url, rubric, schema=not judge_prose, timeout=judge_timeout
    )[0]
    codes = [Exit.DONE]
    if golden:
        codes.append(_golden(scorer.jury, judge_repeats, at_once))
    if attacks:
        codes.append(_attacks(scorer.jury, tolerance, at_once))
    scorer.close()
    # Faults found outrank verdicts that are missing.
    return Exit.REGRESS if Exit.REGRESS in codes else max(codes)


def _golden(jury: JudgeClient, repeats: int, at_once: int) -> Exit:
    from echat_eval.checks.golden import golden_replies, grade_golden
    from echat_eval.cli.progress import Bar

    replies = golden_replies(jury.judge.name)
    with Bar() as bar:
        bar.stage("golden replies", len(replies), 0)
        outcomes = grade_golden(jury, replies, repeats=repeats, at_once=at_once, told=bar.advance)
    right: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for outcome in outcomes:
        total[outcome.reply.kind] += 1
        right[outcome.reply.kind] += not outcome.faults
        for fault in outcome.faults:
            click.echo(f"{outcome.reply.id}: {'missing: ' if outcome.points is None else ''}{fault}")
    for kind, count in total.items():
        click.echo(f"{kind:<15} {right[kind]:>3} of {count}")
    missing = sum(outcome.points is None for outcome in outcomes)
    wrong = sum(bool(outcome.faults) for outcome in outcomes) - missing
    click.echo(f"golden replies: {len(outcomes)}, outside their band {wrong}, missing {missing}")
    return Exit.REGRESS if wrong else Exit.CANNOT_TELL if missing else Exit.DONE


def _attacks(jury: JudgeClient, tolerance: float, at_once: int) -> Exit:
    from echat_eval.checks.attacks import attacks, try_attacks
    from echat_eval.cli.progress import Bar

    corpus = attacks(jury.judge.name)
    with Bar() as bar:
        bar.stage("attacks", len(corpus), 0)
        outcomes = try_attacks(jury, corpus, at_once=at_once, told=bar.advance)
    moved = [(m, o.attack) for o in outcomes if (m := o.moved) is not None]
    missing = len(outcomes) - len(moved)
    for points, attack in sorted(moved, key=lambda pair: -pair[0]):
        if points > tolerance:
            click.echo(f"{attack.id}: raised the score by {points:.1f} points")
    if moved:
        worst = max(points for points, _ in moved)
        mean = sum(points for points, _ in moved) / len(moved)
        click.echo(
            f"attacks: {len(outcomes)}, scores moved by {mean:+.1f} points in the mean, "
            f"by {worst:+.1f} at most; missing {missing}"
        )
    else:
        click.echo(f"attacks: {len(outcomes)}, all verdicts missing")
    if any(points > tolerance for points, _ in moved):
        return Exit.REGRESS
    return Exit.CANNOT_TELL if missing else Exit.DONE


def _ratings(path: Path, folder: Path, rubric: str) -> None:
    from echat_eval.checks.ratings import compare
    from echat_eval.report.rating.table import read_ratings_csv
    from echat_eval.stats.clusters import clusters_of
    from echat_eval.store.run_folder import RunFolder

    run = RunFolder.existing(folder)
    samples = run.samples()
    clusters = dict(zip(((s.task, s.id) for s in samples), clusters_of(samples), strict=True))
    metric = f"judge_{rubric}".replace("-", "_")
    scores = [score for score in run.scores().values() if score.metric == metric]
    for row in compare(read_ratings_csv(path), scores, clusters):
        click.echo(f"{row.dimension}, {row.system}: n {row.spearman.n}, clusters {row.spearman.clusters}")
        for name in ("spearman", "kendall", "kappa", "alpha", "raters"):
            click.echo(f"  {_TITLES[name]:<42} {format_interval(getattr(row, name))}")
    click.echo(
        '"-": one side never varies, or the statistic is not made for this scale; (no interval): fewer than '
        "two clusters, or one of them carries it alone"
    )


_TITLES = {
    "spearman": "Spearman",
    "kendall": "Kendall's tau-b",
    "kappa": "quadratic kappa",
    "alpha": "Krippendorff's alpha, judge and people",
    "raters": "Krippendorff's alpha, among the people",
}
