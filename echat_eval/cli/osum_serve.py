"""`osum serve`: OSUM-EChat behind OpenAI's protocols."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from echat_eval.cli.progress import loading_bar
from echat_eval.cli.terminal import show
from echat_eval.errors import Exit, NotInstalled, UsageError
from echat_eval.plugins.packages import package_of

__all__ = ["serve_command"]

_FILE = click.Path(path_type=Path)
_MIB = 2**20


@click.command(
    name="serve",
    epilog="""\b
Examples:
  echat-eval osum serve --checkpoint weights/language_think.safetensors
  echat-eval osum serve --checkpoint osum.safetensors --mode s2s-think \\
    --token2wav weights/voice --voice weights/me.safetensors --port 8008
  OSUM_KEY=... echat-eval osum serve --checkpoint osum.safetensors \\
    --host 0.0.0.0 --key-env OSUM_KEY
  echat-eval run --system served=openai-chat:osum-echat \\
    --set url=http://127.0.0.1:8000/v1 --task emotion --out runs/served

\b
Ctrl-C and TERM let replies in progress finish; a second one gives them up.
Exit codes: 0 all replies finished, 130 some were given up.""",
)
@click.option("--checkpoint", required=True, metavar="FILE", help="Checkpoint, as for `osum chat`.")
@click.option("--mode", metavar="NAME", help="Mode of all replies, such as s2s-think.  [default: s2s]")
@click.option("--token2wav", metavar="FOLDER", help="Folder that `osum unpack` wrote; needs --voice.")
@click.option(
    "--voice", metavar="FILE", help="Voice file that `osum voice` wrote; without one, replies are text."
)
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Setting of the system; repeatable."
)
@click.option("--name", default="osum-echat", show_default=True, help="Name of the model for clients.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=8000, show_default=True, type=click.IntRange(0, 65_535), help="Port; 0 for a free one."
)
@click.option("--key-env", metavar="NAME", help="Environment variable with the key that clients must send.")
@click.option("--key-file", type=_FILE, help="File with the key that clients must send.")
@click.option("--open", "is_open", is_flag=True, help="Let other machines in without a key.")
@click.option(
    "--max-queue",
    default=64,
    show_default=True,
    type=click.IntRange(0, 200),
    help="Requests that may wait for a slot.",
)
@click.option(
    "--max-connections",
    default=256,
    show_default=True,
    type=click.IntRange(1),
    help="Requests and sessions at once.",
)
@click.option(
    "--max-body", default=32, show_default=True, type=click.IntRange(1, 1024), help="MiB of one request."
)
@click.option(
    "--max-audio",
    default=400.0,
    show_default=True,
    type=click.FloatRange(0, min_open=True),
    help="Seconds of one recording; the model's own limit holds too.",
)
@click.option(
    "--timeout",
    default=120.0,
    show_default=True,
    type=click.FloatRange(0, min_open=True),
    help="Seconds for one reply, its time in the queue included.",
)
@click.option(
    "--grace",
    default=30.0,
    show_default=True,
    type=click.FloatRange(0),
    help="Seconds for replies in progress when the server ends.",
)
@click.option(
    "--audio-host",
    "audio_hosts",
    multiple=True,
    metavar="HOST",
    help="Host to fetch `audio_url` from; repeatable.",
)
def serve_command(
    checkpoint: str,
    mode: str | None,
    token2wav: str | None,
    voice: str | None,
    settings: tuple[str, ...],
    name: str,
    host: str,
    port: int,
    key_env: str | None,
    key_file: Path | None,
    is_open: bool,
    max_queue: int,
    max_connections: int,
    max_body: int,
    max_audio: float,
    timeout: float,
    grace: float,
    audio_hosts: tuple[str, ...],
) -> int:
    """Serve OSUM-EChat: chat with audio in and out, streams, and live sessions.

    Speaks OpenAI's protocols: POST /v1/chat/completions, WebSocket /v1/realtime (current form),
    GET /v1/models, and GET /health. All clients share one queue and are decoded together.
    """
    try:
        from echat_eval.serve.access import check_access, read_key
        from echat_eval.serve.limits import Limits
        from echat_eval.serve.osum_answerer import OsumAnswerer
        from echat_eval.serve.server import EvalServer, listen
    except ImportError as error:
        raise NotInstalled(
            f"osum serve needs {package_of(error)}: pip install 'echat-eval[osum,serve]'"
        ) from error
    from echat_eval.plugins import construct, parse_setting
    from echat_eval.systems.osum_echat import OsumEChat

    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    key = read_key(key_env, key_file)
    loopback = check_access(host, key, is_open=is_open)
    parsed = dict(parse_setting(text) for text in settings)
    given = {"checkpoint": checkpoint, "mode": mode, "token2wav": token2wav, "voice": voice}
    for option, value in given.items():
        if value is not None and str(parsed.setdefault(option, value)) != value:
            raise UsageError(f"--{option} {value} and --set {option}={parsed[option]} differ; give one")
    system = construct("system", "osum-echat", OsumEChat, parsed)
    if not name.strip() or len(name) > 100:
        raise UsageError("--name is empty or longer than 100 characters")
    with listen(host, port) as bound:
        show("loading the model")
        with loading_bar() as on_progress:
            system.load(on_progress)
        answerer = OsumAnswerer(system, name=name, max_waiting=max_queue)
        facts = answerer.facts
        limits = Limits(
            body_bytes=max_body * _MIB,
            audio_seconds=min(max_audio, facts.max_audio_seconds),
            connections=max_connections,
            reply_seconds=timeout,
            grace_seconds=grace,
            audio_hosts=frozenset(audio_hosts),
        )
        server = EvalServer(answerer, limits, bound, key=key, loopback=loopback)
        shown_host, shown_port = server.address
        shown_host = f"[{shown_host}]" if ":" in shown_host else shown_host
        show(f"url          http://{shown_host}:{shown_port}/v1")
        show(f"live         ws://{shown_host}:{shown_port}/v1/realtime")
        show(f"model        {facts.name}, mode {facts.mode}")
        show(f"voice        {facts.voice or 'none: replies are text'}")
        show(f"fingerprint  {facts.fingerprint}")
        show(f"licence      {facts.licence}")
        reach = "this machine" if loopback else "any machine that reaches it"
        show(f"access       {'with the key' if key else 'without a key'}, {reach}")
        show("Ctrl-C ends it")
        server.run()
        show("some replies were given up" if server.is_cut else "ended; all replies were finished")
        return Exit.INTERRUPTED if server.is_cut else Exit.DONE
