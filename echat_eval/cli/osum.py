"""`osum` and `chat`: OSUM-EChat's files, and a reply to one recording."""

from __future__ import annotations

from pathlib import Path

import click

from echat_eval.cli.osum_serve import serve_command
from echat_eval.cli.progress import loading_bar
from echat_eval.cli.terminal import show
from echat_eval.errors import Exit, RowError, UsageError

__all__ = ["chat_command", "osum_group"]

_FILE = click.Path(path_type=Path)


@click.group(name="osum")
def osum_group() -> None:
    """Manage OSUM-EChat checkpoints and voices.

    The weights derive from Qwen2.5-3B: research licence, no commercial use.
    """


_ignore = click.option(
    "--ignore",
    multiple=True,
    metavar="PATTERN",
    help="Unknown tensors to leave out, such as 'ctc.*'; repeatable.",
)


@osum_group.command(epilog="\b\nExamples:\n  echat-eval osum inspect language_think_final.pt")
@click.argument("checkpoint", type=_FILE)
@_ignore
@click.option("--hash/--no-hash", "hashed", default=True, help="Compute the sha256, which reads every byte.")
def inspect(checkpoint: Path, ignore: tuple[str, ...], hashed: bool) -> int:
    """Describe a checkpoint and check whether it loads. Exit code 1: it does not.

    CHECKPOINT is a file, an index of shards, or a folder with one of these.
    """
    from echat_eval.osum.checkpoint.checkpoint import inspect as look
    from echat_eval.osum.checkpoint.files import checkpoint_sha256, find_file

    found = look(checkpoint, ignore=ignore)
    show(f"loads       {'no' if found.faults else 'yes'}")
    show(f"faults      {found.faults or 'none'}")
    show(f"kind        {found.kind}")
    show(f"size        {found.size:,} bytes" + (f" in {found.files} shards" if found.files > 1 else ""))
    show(f"tensors     {found.tensors} ({', '.join(f'{n} {d}' for d, n in found.dtypes.items())})")
    show(f"parameters  {found.parameters:,}")
    show(f"tied copies {len(found.tied)}")
    show(f"expected    {found.expected}")
    if hashed:
        show(f"sha256      {checkpoint_sha256(find_file(checkpoint))}")
    return Exit.REGRESS if found.faults else Exit.DONE


@osum_group.command(
    epilog="\b\nExamples:\n  echat-eval osum convert tag_think_final.pt tag/model.safetensors"
)
@click.argument("source", type=_FILE)
@click.argument("target", type=_FILE)
@click.option(
    "--dtype",
    type=click.Choice(["fp32", "bf16", "fp16"]),
    help="Number format to store.  [default: that of the source]",
)
@_ignore
def convert(source: Path, target: Path, dtype: str | None, ignore: tuple[str, ...]) -> int:
    """Convert a released checkpoint to safetensors, which loads without an extra copy."""
    from echat_eval.osum.checkpoint.checkpoint import convert as turn

    turn(source, target, dtype=dtype, ignore=ignore)
    show(f"wrote {target}")
    return Exit.DONE


@osum_group.command(epilog="\b\nExamples:\n  echat-eval osum download language-think --to weights")
@click.argument("name")
@click.option(
    "--to", "folder", type=_FILE, default=Path("weights"), show_default=True, help="Folder to download to."
)
@click.option("--revision", default="main", show_default=True, help="Branch, tag or commit on the hub.")
@click.option("--repository", default="ASLP-lab/OSUM-EChat", show_default=True, help="Repository on the hub.")
@click.option("--endpoint", metavar="URL", help="Base URL of another hub or a mirror.")
def download(name: str, folder: Path, revision: str, repository: str, endpoint: str | None) -> int:
    """Download language-think, tag-think, token2wav or any file of the repository, and check its sha256."""
    from echat_eval.osum.checkpoint.hub import download as fetch

    path = fetch(name, folder, repository=repository, revision=revision, endpoint=endpoint)
    show(f"{path}; where it is from stands in {path.name}.source.json")
    return Exit.DONE


@osum_group.command(
    epilog="\b\nExamples:\n  echat-eval osum unpack CosyVoice-300M-25Hz.tar --to weights/voice"
)
@click.argument("archive", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--to", "folder", type=_FILE, required=True, help="Folder to unpack to.")
def unpack(archive: Path, folder: Path) -> int:
    """Unpack only the files that token2wav needs from the released archive."""
    from echat_eval.osum.voice.archive import NEEDED, unpack_release

    unpack_release(archive, folder)
    show(f"{folder}: {', '.join(NEEDED)}")
    return Exit.DONE


@osum_group.command(
    epilog="""\b
Examples:
  echat-eval osum voice me.wav --release weights/voice --out me.safetensors --consent "my own voice"
  echat-eval osum voice ann.wav --release weights/voice --out ann.safetensors \\
    --consent "Ann Doe, 2026-11-02, signed form 7: replies in tests, no publication\""""
)
@click.argument("recording", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--release", "folder", type=_FILE, required=True, help="Folder that `osum unpack` wrote.")
@click.option("--out", type=_FILE, required=True, help="Voice file to write.")
@click.option(
    "--consent",
    required=True,
    metavar="TEXT",
    help="What the speaker agreed to, when and how; stored in the voice file.",
)
def voice(recording: Path, folder: Path, out: Path, consent: str) -> int:
    """Prepare a voice from one clean recording, ideally 10 s. Get the speaker's consent first."""
    from echat_eval.osum.voice.archive import check_release
    from echat_eval.osum.voice.voice import prepare_voice, save_voice

    if not consent.strip():
        raise UsageError("--consent is empty; state what the speaker agreed to, when and how")
    check_release(folder)
    made = prepare_voice(
        recording, tokenizer=folder / "speech_tokenizer_v1.onnx", speaker=folder / "campplus.onnx"
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    save_voice(made, out, consent=consent.strip())
    show(
        f"{out}: {len(made.tokens)} speech tokens, {len(made.mel)} mel frames; consent recorded: "
        f"{consent.strip()}"
    )
    return Exit.DONE


@click.command(
    name="chat",
    epilog="\b\nExamples:\n  echat-eval osum chat in.wav --checkpoint weights/language_think_final.pt",
)
@click.argument("audio", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--checkpoint", required=True, metavar="FILE", help="Checkpoint: released .pt or converted .safetensors."
)
@click.option("--mode", default="s2s-think", show_default=True, help="Mode, such as s2s, s2t or understand.")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Setting of the system; repeatable."
)
@click.option("--out", type=_FILE, help="Audio file for the spoken reply, if a voice is set.")
def chat_command(audio: Path, checkpoint: str, mode: str, settings: tuple[str, ...], out: Path | None) -> int:
    """Answer one recording with OSUM-EChat."""
    import soundfile

    from echat_eval.io.audio import audio_ref
    from echat_eval.plugins import construct, parse_setting
    from echat_eval.records import Request, Waveform
    from echat_eval.systems.osum_echat import OsumEChat

    parsed = dict(parse_setting(text) for text in settings) | {"checkpoint": checkpoint, "mode": mode}
    system = construct("system", "osum-echat", OsumEChat, parsed)
    with loading_bar() as on_progress:
        system.load(on_progress)
    try:
        reply = system.respond(Request(id="chat", audio=audio_ref(audio), language="und"))
    except RowError as error:  # of one recording, on the command line, the caller's to mend
        raise UsageError(str(error)) from error
    if reply.think is not None:
        show(*f"think      {reply.think}".split("\n"))
    for cue, label in reply.perceived.items():
        show(f"perceived  {cue}: {label}")
    if reply.reply_emotion:
        show(f"answers in {reply.reply_emotion}")
    show(*f"reply      {reply.text}".split("\n"))
    count = int(reply.usage["speech_tokens"])
    if isinstance(reply.audio, Waveform) and out is not None:
        soundfile.write(out, reply.audio.samples, reply.audio.sample_rate)
        show(f"voice      {out}")
    elif count:
        show(f"voice      none set; {count} speech tokens ({count / 25:.1f} s) were generated")
    if reply.finish_reason == "length":
        show("cut off: the reply reached its length limit", err=True)
    return Exit.DONE


osum_group.add_command(chat_command)
osum_group.add_command(serve_command)
