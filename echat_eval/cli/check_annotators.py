"""`check annotators`: measure annotators on labelled clips."""

from __future__ import annotations

from pathlib import Path

import click

from echat_eval.cli.table import format_interval
from echat_eval.cli.terminal import show
from echat_eval.errors import Exit

__all__ = ["check_annotators"]


@click.command(
    "annotators",
    epilog="""\b
Examples:
  echat-eval check annotators --data clips/labelled.jsonl --annotator whisper
  echat-eval check annotators --data clips/labelled.jsonl --annotator emotion2vec:model=models/emotion2vec""",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    help="JSONL file of clips: audio, language, and transcript, emotion, age, gender, event or speaker.",
)
@click.option(
    "--annotator",
    "names",
    multiple=True,
    required=True,
    metavar="NAME[:KEY=VALUE,...]",
    help="Annotator to check; repeatable.",
)
def check_annotators(data: Path, names: tuple[str, ...]) -> int:
    """Compare annotators with the labels that people gave to clips."""
    from echat_eval.annotators.select import select_annotators
    from echat_eval.checks.labelled import annotate_clips, read_clips
    from echat_eval.cli.progress import Bar

    clips = read_clips(data)
    for annotator in select_annotators(list(names), lambda text: show(f"note: {text}", err=True)):
        with Bar() as bar:
            bar.stage(annotator.name, len(clips), 0)
            report = annotate_clips(annotator, clips, on_result=bar.advance)
        show(f"{annotator.name}: {report.clips} clips, not applicable {report.not_applicable}")
        if report.error_rate is None and not report.cues:
            show(f"  {data} holds none of the labels that it predicts, so there is nothing to compare")
        if report.error_rate is not None:
            show(f"  word error rate, %: {format_interval(report.error_rate)}")
        for cue, recalls in report.cues.items():
            show(f"  {cue}: UAR, % {format_interval(recalls.uar)}; WAR, % {format_interval(recalls.war)}")
            for (gold, predicted), count in sorted(report.confusion[cue].items()):
                show(f"    {gold} predicted as {predicted}: {count} of {recalls.per_label[gold][1]}")
            if cue in report.calibration:
                error = report.calibration[cue]
                show(
                    f"    calibration error: {format_interval(error)}; a calibrated classifier would show "
                    f"{error.by_chance:.3f} by chance"
                )
    return Exit.DONE
