"""OSUM-EChat on a CPU, ours and the public code in turns, on the same random weights.

    python bench/osum/cpu.py language-model --public OSUM-EChat --out osum_cpu_language_model.json
    python bench/osum/cpu.py token2wav --public OSUM-EChat --out osum_cpu_token2wav.json

`--public` is the folder `OSUM-EChat` of ASLP-lab/OSUM at commit f2bcfac, kept outside this repository. It
needs transformers 4.44.0 with tokenizers 0.19 and huggingface-hub 0.25, einops, conformer, diffusers 0.27.2
and omegaconf; ours runs under the same ones. Without it ours is timed alone. Each command takes some six
minutes; `--long` adds a reply of 2,000 tokens and takes a quarter of an hour.

Every case has a process of its own, so its peak memory is its own, and the processes of a case take turns,
so that other work on the machine disturbs both sides alike. Seconds are CPU seconds of the process, and every
number is the median of the rounds; compiling and other first times are over before them. The public code
answers one request at a time because it has no batch mode: of a batch of 16 it answers a quarter every round.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench.osum.forced import Length, make_waves
from bench.osum.sides import CONFIGS, OurModel, PublicModel
from bench.osum.token2wav_sides import SIZES, Ours, Public
from bench.support.side_by_side import Round, compare, machine, serve
from echat_eval.osum.checkpoint.tiny import random_tensors
from echat_eval.osum.model.config import config_to_json
from echat_eval.osum.voice.config import mel_frames, voice_config_to_json
from echat_eval.osum.voice.tiny import random_voice

#: Replies of the public side in a round of a batch; it answers one after the other, so this changes no cost.
SHARE = 4
#: The public language model compiles its decode step; with a single reply of 100 it is timed without too.
PLAIN = "public, not compiled"
#: One fifth of a reply's ids are text, as of 100 text and 400 speech tokens.
TEXT_SHARE = 0.2


def split(ids: int) -> Length:
    """Return a reply of `count` ids."""
    text = round(TEXT_SHARE * ids)
    return Length(text, ids - text - 3)


def load_language_model(case: dict[str, Any]) -> Round:
    """Return one round of the language model: encoder, adapter, prompt and decoding."""
    torch.set_num_threads(case["threads"])
    tensors, config = torch.load(case["weights"], weights_only=True, mmap=True), CONFIGS[case["size"]]
    side: Any
    if case["side"] == "ours":
        side = OurModel(tensors, config)
        hearer, name = side.engine.model, "embed_audio"
    else:
        side = PublicModel(Path(case["public"]), tensors, config, compiled=case["side"] != PLAIN)
        hearer, name = side.model, "_get_embedding_from_wav"
    hearing = timed(hearer, name)
    waves = make_waves(case["batch"])
    length = split(case["tokens"])

    def answer(number: int) -> dict[str, Any]:
        hearing.clear()
        requests = waves if case["side"] == "ours" else share(waves, number)
        if number < 0:
            side.answer(requests[:1], Length(4, 4))
            return {}
        ids = side.answer(requests, length)
        assert all(len(row) == length.ids for row in ids), [len(row) for row in ids]
        return {"requests": len(requests), "hear_cpu_seconds": sum(hearing)}

    return answer


def load_token2wav(case: dict[str, Any]) -> Round:
    """Return one round of token2wav: speech tokens to waves."""
    torch.set_num_threads(case["threads"])
    voice = random_voice(tokens=case["voice_tokens"], frames=mel_frames(case["voice_tokens"]))
    sides: dict[str, Callable[..., Ours | Public]] = {"ours": Ours, "public": Public}
    side = sides[case["side"]](SIZES[case["size"]], voice, f"{case['public']}/tts")
    generator = torch.Generator().manual_seed(0)
    rows = [torch.randint(0, 4096, (case["tokens"],), generator=generator) for _ in range(case["batch"])]

    def speak(number: int) -> dict[str, Any]:
        requests = list(enumerate(rows)) if case["side"] == "ours" else share(list(enumerate(rows)), number)
        if number < 0:
            side.speak([rows[0][:2]], [0])
            return {}
        flow, hift, _ = side.speak([row for _, row in requests], [seed for seed, _ in requests])
        return {"requests": len(requests), "flow_cpu_seconds": flow, "hift_cpu_seconds": hift}

    return speak


def share(rows: list[Any], number: int) -> list[Any]:
    """Return the public side's part of a batch in this round."""
    if len(rows) <= SHARE:
        return rows
    start = max(number, 0) * SHARE % len(rows)
    return rows[start : start + SHARE]


def timed(owner: Any, name: str) -> list[float]:
    """Make a method note its CPU seconds in the list returned."""
    spent: list[float] = []
    method: Callable[..., Any] = getattr(owner, name)

    def call(*given: Any, **named: Any) -> Any:
        begin = time.process_time()
        made = method(*given, **named)
        spent.append(time.process_time() - begin)
        return made

    object.__setattr__(owner, name, call)
    return spent


LOADERS = {"language-model": load_language_model, "token2wav": load_token2wav}
#: Batch size, ids of a reply, rounds.
CASES = {
    "language-model": [(1, 100, 3), (16, 25, 3), (1, 500, 1)],
    "token2wav": [(1, 25, 3), (16, 25, 3), (1, 100, 1), (1, 500, 1)],
}
LONG = {"language-model": [(1, 2000, 1)], "token2wav": [(1, 2000, 1)]}


def agree(public: str, size: str, weights: str) -> int:
    """Return how many ids of a greedy reply are the same on both sides before the first that differs."""
    config = CONFIGS[size]
    tensors = torch.load(weights, weights_only=True, mmap=True)
    ours = OurModel(tensors, config, profile="upstream")
    theirs = PublicModel(Path(public), tensors, config, compiled=False)
    length, waves = split(50), make_waves(1)
    (mine,), (their,) = (side.answer(waves, length, greedy=True) for side in (ours, theirs))
    same = [a == b for a, b in zip(mine, their, strict=True)]
    return same.index(False) if False in same else len(same)


def ratios(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return how many times more the public side took, by case: the median over the rounds, each in turns."""
    ours = {(r["batch"], r["tokens"]): r for r in records if r["side"] == "ours"}
    made = []
    for record in records:
        mine = ours[record["batch"], record["tokens"]]
        if record is mine:
            continue
        rounds = zip(record["cpu_seconds_by_round"], mine["cpu_seconds_by_round"], strict=True)
        times = {"cpu_seconds": round(statistics.median(theirs / own for theirs, own in rounds), 2)}
        times |= {
            stage: round(record["per_request"][stage] / mine["per_request"][stage], 2)
            for stage in record["per_request"]
            if stage not in ("cpu_seconds", "wall_seconds")
        }
        times["peak_mb"] = round(record["peak_mb"] / mine["peak_mb"], 2)
        named = {name: record[name] for name in ("side", "batch", "tokens")}
        made.append(named | {"public_over_ours": times})
    return made


def main() -> None:
    """Parse flags, run the cases, write the JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", nargs="?", choices=sorted(LOADERS))
    parser.add_argument("--public", default="", help="the public OSUM-EChat folder")
    parser.add_argument("--size", help="of CONFIGS or SIZES; default: bench, half")
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--cases", type=json.loads, help="in place of CASES, as JSON; others in --out stay")
    parser.add_argument("--voice-tokens", type=int, default=25)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--note", default="")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--worker", type=json.loads, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.worker:
        serve(lambda: LOADERS[flags.worker["part"]](flags.worker))
        return
    kept: dict[str, Any] = {}
    if flags.cases and flags.out and flags.out.exists():
        kept = json.loads(flags.out.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        for report in measure(flags, Path(folder) / "weights.pt", kept):
            if flags.out:
                flags.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(report["ratios"], indent=1))


def describe(flags: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """Return the size's name, and what all cases of a report share."""
    speaks = flags.part == "token2wav"
    size = flags.size or ("half" if speaks else "bench")
    dimensions: Any = SIZES[size] if speaks else CONFIGS[size]
    work = (
        f"a prompt voice of {flags.voice_tokens} tokens before every reply"
        if speaks
        else "a voice of 4 s (2 to 6 s in a batch) is the input; one fifth of a reply's tokens is text"
    )
    return size, {
        "machine": machine(flags.threads),
        "torch": torch.__version__,
        "public": "ASLP-lab/OSUM f2bcfac, one request at a time" if flags.public else None,
        "public_compile": "it has none" if speaks else "on, as it comes",
        "note": flags.note,
        "dtype": "float32",
        "dimensions": json.loads((voice_config_to_json if speaks else config_to_json)(dimensions)),
        "work": work,
    }


def measure(flags: argparse.Namespace, weights: Path, kept: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Run the cases of one part; yield the report after each.

    Args:
        flags: as parsed.
        weights: where to put the language model's random weights.
        kept: a report whose cases stay, but for those that are run again; a case is whole in itself.
    """
    size, report = describe(flags)
    shared: dict[str, Any] = {
        "part": flags.part,
        "threads": flags.threads,
        "public": flags.public,
        "size": size,
    }
    if flags.part == "token2wav":
        shared["voice_tokens"] = flags.voice_tokens
    else:
        shared["weights"] = str(weights)
        torch.save(random_tensors(CONFIGS[size], talkative=True), weights)
        if flags.public:
            report["greedy_ids_equal"] = agree(flags.public, size, str(weights))
    if kept and {name: kept.get(name) for name in report} != report:
        sys.exit(f"{flags.out} is of another machine, version or size; move it away or run all cases")
    wanted = flags.cases or CASES[flags.part] + (LONG[flags.part] if flags.long else [])
    again = {(batch, tokens) for batch, tokens, _ in wanted}
    records = [case for case in kept.get("cases", []) if (case["batch"], case["tokens"]) not in again]
    for batch, tokens, rounds in wanted:
        sides = ["ours"] + ["public"] * bool(flags.public)
        if flags.public and flags.part == "language-model" and (batch, tokens) == (1, 100):
            sides.append(PLAIN)
        cases = [shared | {"side": side, "batch": batch, "tokens": tokens} for side in sides]
        for record in compare(__file__, cases, rounds=rounds):
            record["tokens_per_second"] = round(record["tokens"] * record["requests_per_second"], 2)
            for name in ("public", "weights", "part", "threads"):
                record.pop(name, None)
            records.append(record)
        records.sort(key=lambda case: (case["batch"], case["tokens"]))
        yield report | {"ratios": ratios(records), "cases": records}


if __name__ == "__main__":
    main()
