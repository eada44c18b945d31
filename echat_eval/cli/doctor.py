"""`doctor`: installed and missing optional parts."""

from __future__ import annotations

import click

from echat_eval.cli.cache import cache
from echat_eval.cli.check_instruments import check_instruments
from echat_eval.cli.list_names import names_of, stale_lines
from echat_eval.cli.terminal import show
from echat_eval.errors import Exit

__all__ = ["OPTIONAL", "doctor"]

#: Module that only some commands need, its use, and how to install it; the first three come with the package.
OPTIONAL = (
    ("pandas", "tables of `compare`, `gate` and `report`", "pip install pandas"),
    ("scipy", "intervals of `compare`, `gate` and several systems", "pip install scipy"),
    ("matplotlib", "figures of `run` and `report`", "pip install matplotlib"),
    ("faster_whisper", "transcribes replies; recogniser of the cascade", "pip install 'echat-eval[whisper]'"),
    ("xllamacpp", "language model server of the cascade", "pip install xllamacpp"),
    ("torch", "OSUM-EChat, FunASR, transformers", "pip install 'echat-eval[osum]'"),
    ("transformers", "OSUM-EChat, transformers annotators", "pip install 'echat-eval[osum]'"),
    ("uvicorn", "serves OSUM-EChat: `osum serve`", "pip install 'echat-eval[osum,serve]'"),
    ("funasr", "Paraformer, SenseVoice, emotion2vec+", "pip install 'echat-eval[funasr]'"),
    ("pyarrow", "reads Parquet files and saved data sets", "pip install 'echat-eval[hub]'"),
    ("ray", "workers for systems and annotators on a cluster", "pip install 'echat-eval[ray]'"),
)


@click.group(
    invoke_without_command=True,
    epilog="\b\nExamples:\n  echat-eval doctor\n  echat-eval doctor cache\n  echat-eval doctor instruments",
)
@click.pass_context
def doctor(context: click.Context) -> int:
    """Show installed and missing parts, and how to install the missing ones."""
    if context.invoked_subcommand is None:
        _show_parts()
    return Exit.DONE


doctor.add_command(cache)
doctor.add_command(check_instruments)


def _show_parts() -> None:
    """Print the facts of this machine, and one line per optional part."""
    from importlib.util import find_spec

    from echat_eval.io.bundled_models import ASSETS
    from echat_eval.store.environment import environment

    facts = environment()
    show(f"echat-eval {facts.echat_eval}, Python {facts.python}, {facts.platform}")
    hardware = facts.hardware
    if hardware is not None:
        show(f"{hardware.cores} cores, {hardware.cpu}; GPUs: {', '.join(hardware.gpus) or 'none'}")
    parts = [(module, use, remedy) for module, use, remedy in OPTIONAL]
    parts += [(a.module, f"{a.purpose} ({a.licence})", a.how_to_get) for a in ASSETS.values()]
    missing = [part for part in parts if find_spec(part[0]) is None]
    for part in parts:
        state = "missing" if part in missing else "ok"
        show(f"{state:<8} {part[0]:<22} {part[1]}{f'  ->  {part[2]}' if part in missing else ''}")
    for kind in ("tasks", "judges"):
        show(f"ok       {kind:<22} {', '.join(names_of(kind))}")
    for line in stale_lines():
        show(f"warning  {line}")
    if missing:
        show(f"{len(missing)} optional parts are missing; results that need them are printed as '-'")
