"""`rate`: make a blind, offline page for people, of replies or of a task's samples, and read their files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from echat_eval.cli.terminal import show
from echat_eval.errors import Exit, UsageError

if TYPE_CHECKING:
    from echat_eval.report.rating.assign import Crew

__all__ = ["rate"]


@click.group()
def rate() -> None:
    """Let people rate replies, or label a task's voices, blind and offline; read what they answered."""


@rate.command(
    "export",
    epilog="""\b
Examples:
  echat-eval rate export runs/mine runs/other --out sheet
  echat-eval rate export runs/both --ab mine,other --samples 30 --out sheet
  echat-eval rate export runs/both --match --naturalness --raters 12 --out sheet
  echat-eval rate export my-data/mood --flagged check/check.json --out review
Send the folder to raters: they open index.html and send a file back. Keep sheet.key.json private:
it maps each answer to its system. sheet.plan.md is the analysis plan; its hash is in the key.""",
)
@click.argument("runs", nargs=-1, required=True, metavar="RUNS...|TASK")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write.")
@click.option(
    "--rubric",
    metavar="JUDGE",
    help="Rubric whose dimensions are rated.  [default: that of the runs' judges, else echat-r1]",
)
@click.option("--ab", "pair", metavar="A,B", help="Two systems for a preference test, instead of ratings.")
@click.option(
    "--match",
    is_flag=True,
    help="Ask which of two voices with the same words each reply answers, instead of ratings.",
)
@click.option(
    "--naturalness", is_flag=True, help="Also ask how natural the voice of the reply sounds, 1 to 5."
)
@click.option(
    "--samples", default=20, show_default=True, type=click.IntRange(1), help="Maximum samples per task."
)
@click.option(
    "--raters",
    type=click.IntRange(1, 1000),
    help="Number of raters, each with questions of their own.  [default: everyone rates everything]",
)
@click.option(
    "--overlap",
    type=click.IntRange(1, 1000),
    help="Raters of each question, with --raters.  [default: 3, or all if they are fewer]",
)
@click.option(
    "--checks",
    type=click.IntRange(0, 50),
    help="Attention checks for each rater, and repeated questions.  [default: 2 with --raters, else 0]",
)
@click.option(
    "--consent",
    type=click.Path(path_type=Path),
    help="Text file that raters must agree to before they begin.",
)
@click.option("--pay", metavar="TEXT", help="What the page states about pay.")
@click.option(
    "--demographics",
    metavar="A,B",
    help="Facts that raters may state of themselves, such as age,native_language; only counts are kept.",
)
@click.option(
    "--plan",
    type=click.Path(path_type=Path),
    help="Analysis plan, hashed into the key.  [default: one is written]",
)
@click.option(
    "--flagged",
    type=click.Path(path_type=Path),
    help="The check.json of `check task --report`: review only the samples of a task that it lists.",
)
@click.option("--seed", default=0, show_default=True, type=int, help="Random seed of sampling and order.")
@click.option(
    "--with-audio",
    is_flag=True,
    help="Include recordings that the task does not allow to pass on; the raters may hear them.",
)
def rate_export(
    runs: tuple[str, ...],
    out: Path,
    rubric: str | None,
    pair: str | None,
    match: bool,
    naturalness: bool,
    samples: int,
    raters: int | None,
    overlap: int | None,
    checks: int | None,
    consent: Path | None,
    pay: str | None,
    demographics: str | None,
    plan: Path | None,
    flagged: Path | None,
    seed: int,
    with_audio: bool,
) -> int:
    """Make a blind, randomised rating page: one offline folder, and a key file beside it.

    For the folder of a TASK, people label its voices and name recordings that cannot be used.
    """
    from echat_eval.cli.progress import Bar
    from echat_eval.report.rating.plan import plan_path
    from echat_eval.report.rating.sheet import NATURALNESS, dimensions_of, key_path, rubric_of, write_sheet
    from echat_eval.report.runs import merge_runs
    from echat_eval.store.select import open_run

    if len(runs) == 1 and (Path(runs[0]) / "task.yaml").is_file():
        return _export_review(Path(runs[0]), out, flagged, seed, with_audio=with_audio)
    if flagged is not None:
        raise UsageError("--flagged without the folder of one task: it selects samples of a task to review")
    systems = tuple(name.strip() for name in pair.split(",")) if pair else None
    if systems is not None and (len(systems) != 2 or systems[0] == systems[1]):
        raise UsageError(f"--ab {pair}: expected two different systems, separated by a comma")
    if match and systems is not None:
        raise UsageError("--match with --ab: a sheet asks one kind of question; make two sheets")
    if naturalness and systems is not None:
        raise UsageError("--naturalness with --ab: it is a question about one reply; make two sheets")
    folders = [open_run(name) for name in runs]
    rubric = rubric or rubric_of([run.manifest() for run in folders])
    dimensions = () if match else dimensions_of(rubric)
    if naturalness and NATURALNESS.name not in {dimension.name for dimension in dimensions}:
        dimensions = (*dimensions, NATURALNESS)
    crew = _crew(raters, overlap, checks, consent, pay, demographics)
    with Bar() as bar:
        questions = write_sheet(
            merge_runs(folders),
            out,
            dimensions=dimensions,
            pair=(systems[0], systems[1]) if systems else None,
            samples=samples,
            seed=seed,
            progress=bar,
            with_audio=with_audio,
            match=match,
            crew=crew,
            plan=None if plan is None else _bytes(plan),
        )
    if dimensions and systems is None:
        names = ", ".join(dimension.name for dimension in dimensions)
        source = "" if match else f", of rubric {rubric}"
        show(f"asks for {names}{source}")
    show(f"{questions} questions in {out / 'index.html'}; keep the key {key_path(out)} private")
    if crew.raters is not None:
        show(
            f"{crew.raters} raters, r1 to r{crew.raters}; each question has {crew.overlap}; give each rater "
            "one code"
        )
    show(f"{plan_path(out)}: analysis plan; the key opens only while it is unchanged")
    return Exit.DONE


def _export_review(folder: Path, out: Path, flagged: Path | None, seed: int, *, with_audio: bool) -> int:
    """Write a review sheet of a task."""
    from echat_eval.cli.progress import Bar
    from echat_eval.report.rating.review import flagged_samples, write_review
    from echat_eval.report.rating.sheet import key_path
    from echat_eval.task import load_folder

    only = None if flagged is None else flagged_samples(flagged)
    with Bar() as bar:
        count = write_review(
            load_folder(folder), out, only=only, seed=seed, progress=bar, with_audio=with_audio
        )
    show(
        f"{count} samples in {out / 'index.html'}; keep the key {key_path(out)} private",
        f"then: echat-eval rate import --key {key_path(out)} ANSWERS.json --task {folder} --out {folder}-2",
    )
    return Exit.DONE


def _import_review(key: Path, files: tuple[Path, ...], folder: Path | None, out: Path) -> int:
    """Apply the decisions of people to a task."""
    from echat_eval.report.rating.review_answers import read_review
    from echat_eval.report.rating.review_apply import apply_review, review_lines
    from echat_eval.task import load_folder

    if folder is None:
        raise UsageError("the key is that of a review sheet; name the folder of its task with --task")
    task = load_folder(folder)
    review = read_review(key, files, task)
    dropped = apply_review(task, review, out)
    show(*review_lines(review, dropped), f"{out}: version {task.version + 1} of task '{task.name}'")
    return Exit.DONE


def _crew(
    raters: int | None,
    overlap: int | None,
    checks: int | None,
    consent: Path | None,
    pay: str | None,
    demographics: str | None,
) -> Crew:
    """Return the raters that the options describe."""
    from echat_eval.report.rating.assign import OVERLAP, Crew

    if overlap is not None and raters is None:
        raise UsageError("--overlap without --raters: everyone rates everything; give --raters")
    names = [name.strip() for name in (demographics or "").split(",") if name.strip()]
    if len(set(names)) < len(names):
        raise UsageError(f"--demographics {demographics}: a fact is named twice; name each once")
    return Crew(
        raters=raters,
        overlap=overlap or min(OVERLAP, raters or OVERLAP),
        checks=checks if checks is not None else 2 if raters is not None else 0,
        consent=None if consent is None else _text(consent),
        pay=pay,
        demographics=tuple(names),
    )


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from error


def _text(path: Path) -> str:
    try:
        text = _bytes(path).decode().strip()
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not text in UTF-8: {error}") from error
    if not text:
        raise UsageError(f"{path}: empty; expected the text that raters agree to")
    return text


@rate.command(
    "import",
    epilog="""\b
Examples:
  echat-eval rate import --key sheet.key.json r1.json r2.json --out ratings.csv --run runs/both
  echat-eval rate import --key review.key.json r1.json --task my-data/mood --out my-data/mood-2""",
)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--key",
    type=click.Path(path_type=Path),
    required=True,
    help="Key file that `rate export` wrote beside the folder.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="CSV file to write, for `check judge --ratings`; of a review, the task's next version.",
)
@click.option(
    "--task", "task_folder", type=click.Path(path_type=Path), help="Folder of the task that was reviewed."
)
@click.option(
    "--plan-changed",
    is_flag=True,
    help="Open the key although the analysis plan changed; the report states it.",
)
@click.option(
    "--run",
    "run_name",
    metavar="RUN",
    help="Run folder that was rated: its judges are held against the ratings, and its tables state how.",
)
def rate_import(
    files: tuple[Path, ...],
    key: Path,
    out: Path,
    task_folder: Path | None,
    plan_changed: bool,
    run_name: str | None,
) -> int:
    """Join raters' files into one table and print their agreement; or apply a review to a task."""
    from echat_eval.io.files import write_atomically
    from echat_eval.io.ratings import ratings_csv
    from echat_eval.report.rating.agreement import krippendorff_alpha
    from echat_eval.report.rating.collect import collect, match_groups, units_of
    from echat_eval.report.rating.facts import facts_json, facts_path
    from echat_eval.report.rating.match import match_lines
    from echat_eval.report.rating.rater_lines import rater_lines, tie_lines
    from echat_eval.report.rating.review_answers import is_review
    from echat_eval.report.rating.validate import validate_run
    from echat_eval.store.select import open_run

    if is_review(key):
        return _import_review(key, files, task_folder, out)
    run = None if run_name is None else open_run(run_name)
    for path in (out, facts_path(out)):
        if path.exists():
            raise UsageError(f"{path}: already exists; choose another --out")
    collected = collect(key, files, plan_changed=plan_changed)
    ratings = collected.ratings
    write_atomically(out, ratings_csv(ratings))
    write_atomically(facts_path(out), facts_json(collected))
    raters = {r.rater for r in ratings}
    show(f"{len(ratings)} ratings of {len(raters)} rater{'' if len(raters) == 1 else 's'} in {out}")
    if not collected.plan_kept:
        show("the analysis plan changed after the sheet was written; reports of these ratings state it")
    for line in rater_lines(collected):
        show(line)
    for dimension in dict.fromkeys(r.dimension for r in ratings):
        alpha = krippendorff_alpha(units_of(ratings, dimension))
        text = "not defined: no reply rated twice, or all values equal" if alpha is None else f"{alpha:.3f}"
        show(f"{dimension}: Krippendorff's alpha (ordinal) {text}")
    for line in (*tie_lines(ratings), *match_lines(ratings, match_groups(key))):
        show(line)
    if run is not None:
        held = validate_run(out, run)
        if not held:
            show(
                f"note: no judge of {run_name} compares, so none is held against these answers, which stand "
                f"alone; `echat-eval run {run_name} --judge MODEL --judge-match` asks a judge which voice a "
                "reply answers"
            )
        for validation in held:
            show(f"{validation.metric}: validated against people: {validation.answer} ({validation})")
    return Exit.DONE
