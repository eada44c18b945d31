"""`osum inspect|convert|download|unpack|voice` and `chat`: OSUM-EChat's files, and one recording answered."""

from __future__ import annotations

from pathlib import Path

import click

from echat_eval.errors import Exit

__all__ = ["chat_command", "osum_group"]

_FILE = click.Path(path_type=Path)


@click.group(name="osum")
def osum_group() -> None:
    """OSUM-EChat's checkpoints. Weights are Qwen2.5-3B's descendants: research licence, no commercial use."""


@osum_group.command(epilog="\b\nExamples:\n  echat-eval osum inspect language_think_final.pt")
@click.argument("checkpoint", type=_FILE)
def inspect(checkpoint: Path) -> int:
    """What a checkpoint file is, and whether it would load. Exit code 1 if it would not."""
    from echat_eval.osum.checkpoint.checkpoint import inspect as look

    found = look(checkpoint)
    click.echo(f"kind        {found.kind}")
    click.echo(f"sha256      {found.sha256}")
    click.echo(f"size        {found.size:,} bytes")
    click.echo(f"tensors     {found.tensors} ({', '.join(f'{n} {d}' for d, n in found.dtypes.items())})")
    click.echo(f"parameters  {found.parameters:,}")
    click.echo(f"tied copies {len(found.tied)}")
    click.echo(f"expected    {found.wants}")
    click.echo(f"faults      {found.faults or 'none'}")
    return Exit.REGRESS if found.faults else Exit.DONE


@osum_group.command(
    epilog="\b\nExamples:\n  echat-eval osum convert tag_think_final.pt tag/model.safetensors"
)
@click.argument("source", type=_FILE)
@click.argument("target", type=_FILE)
@click.option("--dtype", type=click.Choice(["fp32", "bf16", "fp16"]), help="Store in.  [default: as it is]")
def convert(source: Path, target: Path, dtype: str | None) -> int:
    """Turn a released checkpoint into safetensors, which load without being copied first."""
    from echat_eval.osum.checkpoint.checkpoint import convert as turn

    turn(source, target, dtype=dtype)
    click.echo(f"wrote {target}")
    return Exit.DONE


@osum_group.command(epilog="\b\nExamples:\n  echat-eval osum download language-think --to weights")
@click.argument("name")
@click.option("--to", "folder", type=_FILE, default=Path("weights"), show_default=True, help="Folder.")
@click.option("--revision", default="main", show_default=True, help="Branch, tag or commit.")
@click.option("--repository", default="ASLP-lab/OSUM-EChat", show_default=True, help="On the hub.")
@click.option("--endpoint", metavar="URL", help="Base URL of another hub or a mirror.")
def download(name: str, folder: Path, revision: str, repository: str, endpoint: str | None) -> int:
    """Fetch language-think, tag-think, token2wav or any file of the repository, and check its sha256."""
    from echat_eval.osum.checkpoint.hub import download as fetch

    path = fetch(name, folder, repository=repository, revision=revision, endpoint=endpoint)
    click.echo(f"{path}; where it is from stands in {path.name}.source.json")
    return Exit.DONE


@osum_group.command(
    epilog="\b\nExamples:\n  echat-eval osum unpack CosyVoice-300M-25Hz.tar --to weights/voice"
)
@click.argument("archive", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--to", "folder", type=_FILE, required=True, help="Folder.")
def unpack(archive: Path, folder: Path) -> int:
    """Take what token2wav needs out of the released tar, and nothing else."""
    from echat_eval.osum.voice.archive import NEEDED, unpack_release

    unpack_release(archive, folder)
    click.echo(f"{folder}: {', '.join(NEEDED)}")
    return Exit.DONE


@osum_group.command(
    epilog="\b\nExamples:\n  echat-eval osum voice me.wav --release weights/voice --out me.safetensors"
)
@click.argument("recording", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--release", "folder", type=_FILE, required=True, help="Where `osum unpack` put the graphs.")
@click.option("--out", type=_FILE, required=True, help="The voice file to write.")
def voice(recording: Path, folder: Path, out: Path) -> int:
    """Prepare a voice from one clean recording, best of about 10 s. Ask whoever speaks in it first."""
    from echat_eval.osum.voice.archive import check_release
    from echat_eval.osum.voice.voice import prepare_voice, save_voice

    check_release(folder)
    made = prepare_voice(
        recording, tokenizer=folder / "speech_tokenizer_v1.onnx", speaker=folder / "campplus.onnx"
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    save_voice(made, out)
    click.echo(f"{out}: {len(made.tokens)} speech tokens, {len(made.mel)} mel frames")
    return Exit.DONE


@click.command(
    name="chat", epilog="\b\nExamples:\n  echat-eval chat in.wav --checkpoint weights/language_think_final.pt"
)
@click.argument("audio", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--checkpoint", required=True, metavar="FILE", help="Released .pt or converted .safetensors.")
@click.option("--mode", default="s2s-think", show_default=True, help="s2s, s2t, understand, ...")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Setting of the system.")
@click.option("--out", type=_FILE, help="Where to write the spoken reply, if a voice is set.")
def chat_command(audio: Path, checkpoint: str, mode: str, settings: tuple[str, ...], out: Path | None) -> int:
    """Let OSUM-EChat answer one recording."""
    import soundfile

    from echat_eval.io.audio import audio_ref
    from echat_eval.plugins import construct, parse_setting
    from echat_eval.records import Request, Waveform
    from echat_eval.systems.osum_echat import OsumEChat

    given = dict(parse_setting(text) for text in settings) | {"checkpoint": checkpoint, "mode": mode}
    system = construct("system", "osum-echat", OsumEChat, given)
    reply = system.respond(Request(id="chat", audio=audio_ref(audio), language="und"))
    if reply.think is not None:
        click.echo(f"think      {reply.think}")
    for cue, label in reply.perceived.items():
        click.echo(f"heard      {cue}: {label}")
    if reply.reply_emotion:
        click.echo(f"answers in {reply.reply_emotion}")
    click.echo(f"reply      {reply.text}")
    count = int(reply.usage["speech_tokens"])
    if isinstance(reply.audio, Waveform) and out is not None:
        soundfile.write(out, reply.audio.samples, reply.audio.sample_rate)
        click.echo(f"voice      {out}")
    elif count:
        click.echo(f"voice      none set; {count} speech tokens ({count / 25:.1f} s) were made")
    if reply.finish_reason == "length":
        click.echo("cut off: the reply reached its cap", err=True)
    return Exit.DONE
