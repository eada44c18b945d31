"""Generate the audio and samples.jsonl of the five demo tasks; see README.md.

Usage: python tools/demo_split/make.py [--out tasks] [--task emotion ...]
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import logging
import wave
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from events import make_event
from numpy.typing import NDArray
from speak import speak
from voice import MANNERS, OUT_RATE, Analysis, Manner, analyse, change

HERE = Path(__file__).resolve().parent
TASKS = ("emotion", "age", "gender", "event", "multi")
SEED = 20_250
#: Length of every clip, so that neither duration nor size reveals a label.
CLIP_SECONDS = 3.6
#: Level of the loud parts and of the background noise, dB relative to full scale.
ACTIVE_DB, FLOOR_DB = -22.0, -68.0
#: Range of the onset, seconds.
ONSET = (0.06, 0.26)
#: Longest sentence beside an event, seconds; a longer one is spoken faster.
MAX_SECONDS_BESIDE_EVENT = 1.55
#: Letters of ids: no vowels, so that no id spells a word.
ID_LETTERS = "bcdfghjkmnpqrstvwxz23456789"

logger = logging.getLogger("demo_split")
Floats = NDArray[np.float64]
Generator = np.random.Generator


def main() -> None:
    """Parse the command line and generate the tasks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=HERE.parents[1] / "tasks")
    parser.add_argument("--task", action="append", choices=TASKS)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for task in arguments.task or TASKS:
        make_task(task, arguments.out / task)


def make_task(task: str, folder: Path) -> None:
    """Write one task's audio and samples.jsonl; task.yaml and LICENCE are written by hand."""
    groups = yaml.safe_load((HERE / "sentences" / f"{task}.yaml").read_text())["groups"]
    number = TASKS.index(task)
    random = np.random.default_rng([SEED, number])
    names = _names(3 * sum(len(group["members"]) for group in groups), random)
    rows, clips = [], []
    for index, group in enumerate(groups):
        group_name = names.pop()
        for member, clip in zip(group["members"], _group_clips(group, [SEED, number, index]), strict=True):
            clips.append(clip)
            rows.append(
                {
                    "transcript": group["transcript"],
                    "cues": member["cues"],
                    "language": group["language"],
                    "source": "synthetic",
                    "contrast_group": group_name,
                    "references": [member["reply"]],
                }
            )
        logger.info("%s: %s", task, group["transcript"])
    order, ids = _uninformative_order(rows, names, random)
    audio = folder / "audio"
    audio.mkdir(parents=True, exist_ok=True)
    for old in audio.glob("*.wav"):
        old.unlink()
    lines = []
    for index in order:
        content = _wav(clips[index])
        name = f"audio/{ids[index]}.wav"
        (folder / name).write_bytes(content)
        head = {"id": ids[index], "audio": name, "audio_sha256": hashlib.sha256(content).hexdigest()}
        lines.append(json.dumps({**head, **rows[index]}, ensure_ascii=False) + "\n")
    (folder / "samples.jsonl").write_text("".join(lines))


def _names(count: int, random: Generator) -> list[str]:
    """Return distinct random names of six characters."""
    names: set[str] = set()
    while len(names) < count:
        names.add("".join(random.choice(list(ID_LETTERS), 6)))
    return [str(name) for name in random.permutation(sorted(names))]


def _uninformative_order(
    rows: list[dict[str, Any]], names: list[str], random: Generator
) -> tuple[list[int], list[str]]:
    """Return an order of the rows and their ids, drawn again until neither correlates with a label."""
    while True:
        order = [int(index) for index in random.permutation(len(rows))]
        ids = [str(name) for name in random.permutation(names)[: len(rows)]]
        position_of = np.argsort(order)
        rank_of = np.argsort(np.argsort(ids))
        if max(_bias(rows, position_of), _bias(rows, rank_of)) < 0.15:
            return order, ids


def _bias(rows: list[dict[str, Any]], ranks: NDArray[np.int64]) -> float:
    """Return the largest distance of a label's area under the ROC curve from one half."""
    worst = 0.0
    for cue, label in sorted({pair for row in rows for pair in row["cues"].items()}):
        mask = np.array([row["cues"].get(cue) == label for row in rows])
        if 4 <= mask.sum() <= len(rows) - 4:
            wins = (ranks[mask][:, None] > ranks[~mask][None]).mean()
            worst = max(worst, abs(float(wins) - 0.5))
    return worst


def _group_clips(group: dict[str, Any], seed: list[int]) -> list[Floats]:
    """Return the members' clips: one rendering of the sentence, changed for each label."""
    random = np.random.default_rng(seed)
    plain = analyse(speak(group["transcript"], group["language"]))
    speaker = Manner(pitch=random.uniform(-1.2, 1.2), formants=random.uniform(0.975, 1.025))
    if not any("gender" in member["cues"] or "age" in member["cues"] for member in group["members"]):
        speaker += Manner(pitch=random.choice([0.0, -3.0]))
    if any(member["cues"].get("event", "none") != "none" for member in group["members"]):
        speaker += Manner(rate=max(1.0, plain.seconds / MAX_SECONDS_BESIDE_EVENT))
    event_last = bool(random.integers(2))
    clips = []
    for number, member in enumerate(group["members"]):
        member_random = np.random.default_rng([*seed, number])
        clips.append(_clip(plain, speaker, member["cues"], event_last, member_random))
    return clips


def _clip(
    plain: Analysis, speaker: Manner, cues: dict[str, str], event_last: bool, random: Generator
) -> Floats:
    manner = speaker + Manner(
        pitch=random.uniform(-0.3, 0.3), rate=random.uniform(0.98, 1.02), spread=random.uniform(0.95, 1.05)
    )
    for cue, label in cues.items():
        if cue != "event":
            manner += MANNERS[cue][label]
    audio = change(plain, manner, random.uniform(0, 2 * np.pi))
    audio /= _active_rms(audio)
    event = cues.get("event", "none")
    if event != "none":
        pitch = 185 * 2 ** (manner.pitch / 12)
        burst = make_event(event, pitch, manner.formants, random)
        burst *= 10 ** (random.uniform(-2.0, 0.5) / 20) / _active_rms(burst)
        gap = np.zeros(round(random.uniform(0.27, 0.34) * OUT_RATE))
        audio = np.concatenate([audio, gap, burst] if event_last else [burst, gap, audio])
    return _padded(audio, random)


def _active_rms(audio: Floats) -> float:
    """Return the root mean square of the 20 ms frames within 25 dB of the loudest."""
    step = OUT_RATE // 50
    frames = audio[: len(audio) // step * step].reshape(-1, step)
    power = (frames**2).mean(axis=1)
    return float(np.sqrt(power[power > power.max() * 10**-2.5].mean()))


def _padded(audio: Floats, random: Generator) -> Floats:
    total = round(CLIP_SECONDS * OUT_RATE)
    start = round(random.uniform(*ONSET) * OUT_RATE)
    if start + len(audio) > total:
        raise ValueError(
            f"{(start + len(audio)) / OUT_RATE:.2f} s of audio; expected at most {CLIP_SECONDS} s"
        )
    clip = np.zeros(total)
    clip[start : start + len(audio)] = audio * (10 ** (ACTIVE_DB / 20) / _active_rms(audio))
    clip += random.standard_normal(total) * 10 ** (FLOOR_DB / 20)
    if np.abs(clip).max() > 0.98:
        raise ValueError(f"clips: peak {np.abs(clip).max():.2f}")
    return clip


def _wav(clip: Floats) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(OUT_RATE)
        file.writeframes(np.rint(clip * 32767).astype("<i2").tobytes())
    return buffer.getvalue()


if __name__ == "__main__":
    main()
