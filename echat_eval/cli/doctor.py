"""`doctor`: what is installed and what is missing."""

from __future__ import annotations

import click

from echat_eval.cli.list_names import names_of
from echat_eval.errors import Exit

__all__ = ["OPTIONAL", "doctor"]


#: What is optional: module -> what it is for, and how to get it.
OPTIONAL = (
    ("faster_whisper", "hears replies; the cascade's ear", "pip install 'echat-eval[whisper]'"),
    ("xllamacpp", "the cascade's language model server", "pip install xllamacpp"),
    ("torch", "OSUM-EChat, FunASR, transformers", "pip install 'echat-eval[osum]'"),
    ("transformers", "OSUM-EChat, transformers annotators", "pip install 'echat-eval[osum]'"),
    ("funasr", "Paraformer, SenseVoice, emotion2vec+", "pip install 'echat-eval[funasr]'"),
    ("ray", "copies of systems and annotators on a cluster", "pip install 'echat-eval[ray]'"),
)


@click.command(epilog="\b\nExample:\n  echat-eval doctor")
def doctor() -> int:
    """What is installed, what is missing for what, and how to get it."""
    from importlib.util import find_spec

    from echat_eval.io.bundled_models import ASSETS
    from echat_eval.store.environment import environment

    facts = environment()
    click.echo(f"echat-eval {facts['echat_eval']}, Python {facts['python']}, {facts['platform']}")
    hardware = facts["hardware"]
    click.echo(f"{hardware['cores']} cores, {hardware['cpu']}; GPUs: {', '.join(hardware['gpus']) or 'none'}")
    parts = [(module, use, remedy) for module, use, remedy in OPTIONAL]
    parts += [(a.module, f"{a.purpose} ({a.licence})", a.how_to_get) for a in ASSETS.values()]
    lacking = [part for part in parts if find_spec(part[0]) is None]
    for part in parts:
        state = "missing" if part in lacking else "ok"
        click.echo(f"{state:<8} {part[0]:<22} {part[1]}{f'  ->  {part[2]}' if part in lacking else ''}")
    for kind in ("tasks", "judges"):
        click.echo(f"ok       {kind:<22} {', '.join(names_of(kind))}")
    if lacking:
        click.echo(
            f"{len(lacking)} optional parts are missing; what needs them is printed as '-', never guessed"
        )
    return Exit.DONE
