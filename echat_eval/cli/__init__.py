"""The command line. Commands are imported when they are called, so that `--help` is quick."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from echat_eval import __version__
from echat_eval.errors import EChatError, Exit

__all__ = ["COMMANDS", "command_line", "main"]

#: Command -> where it is, and its line in the help.
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("echat_eval.cli.demo:demo", "Evaluate four small systems on the demo split, start to end."),
    "list": (
        "echat_eval.cli.list_names:list_names",
        "Tasks, systems, annotators, scorers, judges, published tables.",
    ),
    "run": ("echat_eval.cli.run:run", "Ask systems, hear and score their replies, print the leaderboard."),
    "score": ("echat_eval.cli.run:score", "Annotate and score the replies of a run again, asking no system."),
    "leaderboard": ("echat_eval.cli.leaderboard:leaderboard", "The leaderboard of one or more runs."),
    "compare": (
        "echat_eval.cli.compare_gate:compare_command",
        "Paired differences of systems, or the trend of checkpoints.",
    ),
    "gate": (
        "echat_eval.cli.compare_gate:gate_command",
        "May a candidate pass? Pass, regress or cannot tell.",
    ),
    "report": ("echat_eval.cli.report:report", "Tables, figures, provenance and a page to listen to."),
    "rate": ("echat_eval.cli.rate:rate", "Let people rate replies, blind and offline; read their files."),
    "export": ("echat_eval.cli.export:export", "Hand the questions out, to be answered by any program."),
    "import": (
        "echat_eval.cli.import_:import_data",
        "Turn foreign data into a task: EChat-200K, EchoMind and others.",
    ),
    "check": (
        "echat_eval.cli.check:check",
        "Find faults: of a task folder, a system, a judge, annotators, instruments.",
    ),
    "osum": ("echat_eval.cli.osum:osum_group", "OSUM-EChat's checkpoints: inspect, convert, download."),
    "chat": ("echat_eval.cli.osum:chat_command", "Let OSUM-EChat answer one recording."),
    "cache": ("echat_eval.cli.cache:cache", "What earlier runs left to later ones: show, prune, clear."),
    "doctor": ("echat_eval.cli.doctor:doctor", "What is installed, what is missing for what, how to get it."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        found: click.Command = getattr(import_module(module), name)
        return found

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[Any, Any, list[str]]:
        """Suggest the near name for an unknown one."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from echat_eval.errors import UnknownName

            raise UnknownName("command", args[0], COMMANDS)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


EPILOG = """\b
Examples:
  echat-eval demo                                          start here: no key, no GPU, no download
  echat-eval run --system echo --system canned --out runs/floors
  echat-eval run --system mine=replay:replies.jsonl --task emotion --out runs/mine
  echat-eval leaderboard runs/mine runs/floors

\b
Exit codes: 0 done or pass, 1 regress or faults found, 2 misuse or bad input,
3 cannot tell or rows missing, 130 interrupted, 70 a bug of ours.
"""


@click.group(cls=LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="echat-eval")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def command_line(debug: bool) -> None:
    """Does a spoken-dialogue system hear how people speak, not only what they say?"""


def main() -> None:
    """Run the command line and exit with a code that says what happened."""
    debug = "--debug" in sys.argv[1:]
    try:
        code = command_line.main(prog_name="echat-eval", standalone_mode=False)
        sys.exit(int(code) if isinstance(code, int) else 0)
    except click.exceptions.Abort:
        _say("interrupted")
        sys.exit(Exit.INTERRUPTED)
    except KeyboardInterrupt:
        _say("interrupted; the same command goes on where this one stopped")
        sys.exit(Exit.INTERRUPTED)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        where = f"; see `{context.command_path} --help`" if context is not None else ""
        _say(" ".join(error.format_message().split()).rstrip(".") + where)
        sys.exit(error.exit_code)
    except EChatError as error:
        if debug:
            traceback.print_exc()
        _say(" ".join(str(error).split("\n")))
        sys.exit(error.exit_code)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("echat_eval"):
            raise
        _say(f"this needs the package '{error.name}'; `echat-eval doctor` says how to get it")
        sys.exit(Exit.MISUSE)
    except BrokenPipeError:
        # Whoever read our output has left; that is not an error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(Exit.DONE)
    except OSError as error:
        if debug:
            traceback.print_exc()
        where = f": {error.filename}" if error.filename else ""
        _say(f"{error.strerror or error}{where}; what was done is kept, the same command goes on")
        sys.exit(Exit.CANNOT_TELL)
    except Exception as error:  # noqa: BLE001  our bug: one line and a report, never a traceback
        if debug:
            traceback.print_exc()
        _say(f"a bug of ours: {type(error).__name__}: {error}. Report: {_report()}")
        sys.exit(Exit.BUG)


def _say(line: str) -> None:
    click.echo(f"echat-eval: {line}", err=True)


def _report() -> Path:
    """Write what happened to a file and return its path."""
    handle, name = tempfile.mkstemp(prefix="echat-eval-", suffix=".txt")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(f"echat-eval {__version__}\nPython {sys.version}\n{' '.join(sys.argv[1:])}\n\n")
        traceback.print_exc(file=file)
    return Path(name)
