"""The command line. Commands are imported only when called, so that `--help` is fast."""

from __future__ import annotations

import gc
import os
import sys
import tempfile
import traceback
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from echat_eval import __version__
from echat_eval.cli.exit_code import guard_exit_code, leave
from echat_eval.cli.interrupts import interruptible
from echat_eval.cli.terminal import open_terminal, show
from echat_eval.clients.keys import remember_known_secrets
from echat_eval.concurrency.memory import demand_memory
from echat_eval.concurrency.own_faults import is_own_fault
from echat_eval.errors import EChatError, Exit, scrub

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["COMMANDS", "HIDDEN", "command_line", "main", "run_program"]

#: Command -> module and object that hold it, and its line in the help.
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": (
        "echat_eval.cli.demo:demo",
        "Evaluate two small systems, floors and a ceiling on the demo split.",
    ),
    "run": (
        "echat_eval.cli.run:run",
        "Run an experiment file or systems; finish a run folder or score it again.",
    ),
    "compare": (
        "echat_eval.cli.compare_gate:compare_command",
        "Compare systems by paired differences, or checkpoints by their trend.",
    ),
    "gate": (
        "echat_eval.cli.compare_gate:gate_command",
        "Decide whether a candidate may pass: pass, regress or cannot tell.",
    ),
    "report": ("echat_eval.cli.report:report", "Make tables, figures, provenance and a page with audio."),
    "show": (
        "echat_eval.cli.show_runs:show_command",
        "List runs, print leaderboards, list names of tasks, systems and judges.",
    ),
    "import": (
        "echat_eval.cli.import_:import_data",
        "Convert other data sets to a task: EChat-200K, EchoMind and others.",
    ),
    "export": ("echat_eval.cli.export_run:export", "Export requests, or a run for other programs."),
    "rate": ("echat_eval.cli.rate:rate", "Let people rate replies, blind and offline; read their ratings."),
    "check": (
        "echat_eval.cli.check:check",
        "Check a task folder, a system, a judge, annotators or the instruments.",
    ),
    "doctor": ("echat_eval.cli.doctor:doctor", "Show installed and missing parts, and the cache of runs."),
    "osum": (
        "echat_eval.cli.osum:osum_group",
        "Inspect, convert and download OSUM-EChat checkpoints; prepare a voice; chat; serve.",
    ),
}
#: Older spellings, which `--help` does not list.
HIDDEN: dict[str, str] = {
    "list": "echat_eval.cli.list_names:list_names",
    "score": "echat_eval.cli.run:score",
    "leaderboard": "echat_eval.cli.leaderboard:leaderboard",
    "chat": "echat_eval.cli.osum:chat_command",
    "cache": "echat_eval.cli.cache:cache",
}


class LazyGroup(click.Group):
    """A command group that imports its commands on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the command names in the order of `COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        path = HIDDEN.get(cmd_name) or COMMANDS.get(cmd_name, ("", ""))[0]
        if not path:
            return None
        module, _, name = path.partition(":")
        found: click.Command = getattr(import_module(module), name)
        return found

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[Any, Any, list[str]]:
        """Suggest the closest name for an unknown command."""
        if args and args[0] not in {*COMMANDS, *HIDDEN} and not args[0].startswith("-"):
            from echat_eval.errors import UnknownName

            raise UnknownName("command", args[0], COMMANDS)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


EPILOG = """\b
Examples:
  echat-eval demo                                          start here: no key, no GPU, no download
  echat-eval run runs/demo.yaml --out runs/mine            edit the file that the demo leaves
  echat-eval run --system mine=replay:replies.jsonl --task emotion --out runs/mine
  echat-eval compare runs/demo:cascade runs/mine:mine
  echat-eval show

\b
Exit codes: 0 done or pass, 1 regress or faults found, 2 misuse or bad input,
3 cannot tell or rows missing, 130 interrupted, 70 a bug of ours.
"""


@click.group(cls=LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="echat-eval")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def command_line(debug: bool) -> None:
    """Does a spoken-dialogue system respond to how people speak, not only to what they say?"""


def main() -> None:
    """Run the command line and exit with one of the codes of `Exit`."""
    # Rows live as long as the command; searching them for cycles again and again takes a sixth of its time.
    gc.set_threshold(50_000, 20, 100)
    run_program(lambda: command_line.main(prog_name="echat-eval", standalone_mode=False))


def run_program(program: Callable[[], object]) -> NoReturn:
    """Run a function as a program: it ends with a code of `Exit`, and an error is one line, no traceback.

    Args:
        program: returns its exit code; anything else than a whole number is 0.
    """
    guard_exit_code()
    open_terminal()
    remember_known_secrets(sys.argv[1:], os.environ)
    with interruptible():
        try:
            code = _exit_code(program)
        except KeyboardInterrupt:  # once more, while the end was being reported
            code = Exit.INTERRUPTED
    leave(code)


def _exit_code(program: Callable[[], object]) -> int:
    """Run a function; print one line about an error and return the exit code."""
    try:
        code = program()
        return int(code) if isinstance(code, int) else Exit.DONE
    except (KeyboardInterrupt, click.exceptions.Abort):  # click turns the one into the other
        return _ended(Exit.INTERRUPTED, "interrupted; run the same command to continue")
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        context = error.ctx if isinstance(error, click.UsageError) else None
        advice = f"; see `{context.command_path} --help`" if context is not None else ""
        return _ended(error.exit_code, error.format_message().rstrip(".") + advice)
    except EChatError as error:
        own = error.__cause__ is not None and is_own_fault(error.__cause__)
        return _ended(Exit.CANNOT_TELL if own else error.exit_code, str(error))
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("echat_eval"):
            return _bug(error)
        from echat_eval.plugins.packages import package_of

        return _ended(
            Exit.MISUSE,
            f"package '{package_of(error)}' is not installed; `echat-eval doctor` shows how to install it",
        )
    except OSError as error:
        path = f": {error.filename}" if error.filename else ""
        return _ended(
            Exit.CANNOT_TELL,
            f"{error.strerror or error}{path}; finished rows are kept, run the same command to continue",
        )
    except Exception as error:  # noqa: BLE001  a bug: print one line and write a report, no traceback
        return _bug(error)


def _hides_interrupt(error: BaseException) -> bool:
    """Return whether an interrupt led to an error; compiled modules interrupted at import raise their own."""
    led: BaseException | None = error
    while led is not None and not isinstance(led, KeyboardInterrupt):
        led = led.__cause__ or led.__context__
    return led is not None


def _own_fault(error: Exception) -> int:
    """Report that memory, threads or disk are used up; this needs little of them."""
    message = str(error)
    if not isinstance(error, MemoryError):
        what = f"{type(error).__name__}: {message}"
    else:  # messages of others are of any kind, such as the name of a template
        what = message if message.startswith("out of memory") else "out of memory"
    return _ended(Exit.CANNOT_TELL, f"{what}; finished rows are kept, run the same command to continue")


def _ended(code: int, line: str) -> int:
    """Print a line about the error that is being handled, and return an exit code."""
    if "--debug" in sys.argv[1:]:
        show(*scrub(traceback.format_exc()).splitlines(), err=True)
    show(f"echat-eval: {scrub(' '.join(line.split()))}", err=True)
    return code


def _bug(error: Exception) -> int:
    """Report a bug, or a fault of this machine; a fault of the report changes no exit code."""
    try:
        if _hides_interrupt(error):
            return _ended(Exit.INTERRUPTED, "interrupted; run the same command to continue")
        if is_own_fault(error):
            return _own_fault(error)
        demand_memory()  # without memory, libraries and Python itself raise errors of any kind
        return _ended(Exit.BUG, f"a bug of ours: {type(error).__name__}: {error}. Report: {_write_report()}")
    except MemoryError as lack:
        return _own_fault(lack)
    except Exception:  # noqa: BLE001  the report has a bug too, as may the error's own text
        show(f"echat-eval: a bug of ours: {type(error).__name__}. Report: not written", err=True)
    return Exit.BUG


def _write_report() -> Path | str:
    """Write version, command and traceback to a file; return its path, or why there is none."""
    try:
        return _report_file()
    except OSError as error:
        return f"not written: {error.strerror or error}"


def _report_file() -> Path:
    handle, name = tempfile.mkstemp(prefix="echat-eval-", suffix=".txt")
    with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
        begun = f"echat-eval {__version__}\nPython {sys.version}\n{' '.join(sys.argv[1:])}\n\n"
        file.write(scrub(begun + traceback.format_exc()))
    return Path(name)
