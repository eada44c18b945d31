"""`check annotators`: annotators against labelled clips."""

from __future__ import annotations

from pathlib import Path

import click

from echat_eval.cli.table import format_interval
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
    help="JSONL: audio, language, and any of transcript, emotion, age, gender, event, speaker.",
)
@click.option(
    "--annotator",
    "names",
    multiple=True,
    required=True,
    metavar="NAME[:KEY=VALUE,...]",
    help="Instrument to check; repeatable.",
)
def check_annotators(data: Path, names: tuple[str, ...]) -> int:
    """Does an annotator hear what people say is there?"""
    from echat_eval.checks.labelled import hear_clips, read_clips
    from echat_eval.cli.options import make_annotators
    from echat_eval.cli.progress import Bar

    clips = read_clips(data)
    for annotator in make_annotators(names):
        with Bar() as bar:
            bar.stage(annotator.name, len(clips), 0)
            report = hear_clips(annotator, clips, told=bar.advance)
        click.echo(f"{annotator.name}: {report.clips} clips, not applicable {report.not_applicable}")
        if report.error_rate is None and not report.cues:
            click.echo(f"  it hears nothing that {data} says of these clips, so there is nothing to compare")
        if report.error_rate is not None:
            click.echo(f"  word error rate, %: {format_interval(report.error_rate)}")
        for cue, found in report.cues.items():
            click.echo(f"  {cue}: UAR, % {format_interval(found.uar)}; WAR, % {format_interval(found.war)}")
            for (gold, heard), count in sorted(report.confusion[cue].items()):
                click.echo(f"    {gold} heard as {heard}: {count} of {found.per_label[gold][1]}")
            if cue in report.calibration:
                click.echo(f"    calibration error: {format_interval(report.calibration[cue])}")
    return Exit.DONE
