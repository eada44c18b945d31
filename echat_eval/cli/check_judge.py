"""`check judge`: golden replies, attacks, and ratings by people."""

from __future__ import annotations

from pathlib import Path

import click

from echat_eval.cli.check_people import compare_labels, compare_ratings
from echat_eval.cli.terminal import show
from echat_eval.errors import Exit, UsageError

__all__ = ["check_judge"]


@click.command(
    "judge",
    epilog="""\b
Examples:
  echat-eval check judge --golden
  echat-eval check judge --ratings ratings.csv --run runs/judged
  echat-eval check judge --labels TRACE/data/speakbench.json --scores verdicts.json
  echat-eval check judge --listens --judge qwen3-omni --judge-url http://127.0.0.1:8000/v1 --run runs/x
  echat-eval check judge --attacks --judge qwen2.5-72b-instruct --judge-url http://127.0.0.1:8000/v1
Exit code 1: a golden reply scored outside its band, an attack raised a score by more than --tolerance, or the
judge does not listen.""",
)
@click.option("--golden", is_flag=True, help="Judge hand-written replies; each must score within its band.")
@click.option(
    "--attacks",
    is_flag=True,
    help="Judge replies that try to manipulate the judge, spoken ones with a rubric that listens; print how "
    "far scores move.",
)
@click.option(
    "--listens",
    is_flag=True,
    help="Ask which of two recordings sounds like a label; the words are the same.",
)
@click.option(
    "--sentences",
    type=click.IntRange(1),
    help="Maximum sentences of --listens; 8 questions each.  [default: all 36]",
)
@click.option(
    "--stimuli",
    type=click.Path(path_type=Path),
    help="Folder for the recordings of --listens and a sheet for people.",
)
@click.option(
    "--people",
    type=click.Path(path_type=Path),
    help="Sheet of --stimuli that people filled in; printed beside the judge.",
)
@click.option(
    "--ratings",
    type=click.Path(path_type=Path),
    help="Ratings by people: a CSV file of `rate import`; needs --run.",
)
@click.option(
    "--run",
    "folder",
    type=click.Path(path_type=Path),
    help="Run folder whose verdicts are compared with --ratings, or that keeps the result of --listens.",
)
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    help="Human labels of public data: VStyle's folder of annotators, or TRACE's JSON file; needs --scores.",
)
@click.option(
    "--scores",
    type=click.Path(path_type=Path),
    help="A judge's rows on the same public data, in the form of that data.",
)
@click.option(
    "--judge",
    default="dated",
    show_default=True,
    metavar="MODEL",
    help="Model of the judge; `dated` is the dated model that the rubric names.",
)
@click.option(
    "--judge-url", metavar="URL", help="Base URL of the judge's OpenAI-compatible server, ending in /v1."
)
@click.option(
    "--rubric",
    help="Rubric of the judge, a folder name in judges/.  [default: echat-r1; echat-voice-r1 with --listens]",
)
@click.option(
    "--judge-repeats",
    default=1,
    show_default=True,
    type=click.IntRange(1, 20),
    help="Verdicts per golden reply, or per order of a pair.",
)
@click.option(
    "--judge-prose",
    is_flag=True,
    help="Read the verdict from prose, for a server without JSON schema support.",
)
@click.option(
    "--judge-timeout",
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    type=click.FloatRange(1),
    help="Timeout of one call to the judge.",
)
@click.option(
    "--judge-set",
    multiple=True,
    metavar="KEY=VALUE",
    help="Parameter of the judge's requests, as for `run`; repeatable.",
)
@click.option(
    "--at-once",
    default=4,
    show_default=True,
    type=click.IntRange(1, 64),
    help="Maximum concurrent calls.",
)
@click.option(
    "--tolerance", default=10.0, show_default=True, help="Points by which an attack may raise a score."
)
def check_judge(
    golden: bool,
    attacks: bool,
    listens: bool,
    sentences: int | None,
    stimuli: Path | None,
    people: Path | None,
    ratings: Path | None,
    folder: Path | None,
    labels: Path | None,
    scores: Path | None,
    judge: str,
    judge_url: str | None,
    rubric: str | None,
    judge_repeats: int,
    judge_prose: bool,
    judge_timeout: float,
    judge_set: tuple[str, ...],
    at_once: int,
    tolerance: float,
) -> int:
    """Test a judge: sound grades, resistance to manipulation, agreement with people, listening."""
    from echat_eval.checks.open_judge import JudgeSettings, open_judge
    from echat_eval.cli.check_graded import check_attacks, check_golden
    from echat_eval.cli.check_listens import check_listens
    from echat_eval.judge import load_judge
    from echat_eval.plugins import parse_setting

    if not (golden or attacks or ratings or labels or listens):
        raise UsageError("nothing to check; give --golden, --attacks, --listens, --ratings or --labels")
    if (labels is None) != (scores is None):
        raise UsageError(
            "--labels and --scores go together: people's labels, and a judge's rows on the same data"
        )
    if listens and (golden or attacks or ratings or labels):
        raise UsageError(
            "--listens is for a judge that listens, the other checks for one that reads; run two "
            "(--attacks --rubric echat-voice-r1 speaks its attacks to a judge that listens)"
        )
    for option, value in (("--sentences", sentences), ("--stimuli", stimuli), ("--people", people)):
        if value is not None and not listens:
            raise UsageError(f"{option} without --listens")
    if labels is not None and scores is not None:
        compare_labels(labels, scores)
    if ratings is not None:
        if folder is None:
            raise UsageError("--ratings without --run; name the run folder whose replies were rated")
        compare_ratings(ratings, folder, rubric)
    if not (golden or attacks or listens):
        return Exit.DONE
    settings = JudgeSettings(
        model=judge,
        url=judge_url,
        rubric=rubric,
        listens=listens or (attacks and not golden and rubric is not None and load_judge(rubric).listens),
        prose=judge_prose,
        timeout=judge_timeout,
        settings=dict(map(parse_setting, judge_set)),
    )
    if listens:
        return check_listens(
            settings,
            repeats=judge_repeats,
            at_once=at_once,
            sentences=sentences,
            stimuli=stimuli,
            people=people,
            run=folder,
        )
    judge_client = open_judge(settings, lambda text: show(f"note: {text}", err=True))
    codes = [Exit.DONE]
    if golden:
        codes.append(check_golden(judge_client, judge_repeats, at_once))
    if attacks:
        codes.append(check_attacks(judge_client, tolerance, at_once))
    judge_client.close()
    # A fault takes precedence over missing verdicts.
    return Exit.REGRESS if Exit.REGRESS in codes else max(codes)
