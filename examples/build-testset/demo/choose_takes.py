"""Search for synthetic sounds that an AudioSet tagger recognises, and write `testset/event_takes.py`.

Usage: python examples/build-testset/demo/choose_takes.py [LABEL ...] [--takes 8] [--steps 300]
Each take starts at random and climbs: a mutation is kept if the tagger ranks the label at least as high, in a
low and in a high voice, before and after plain speech.
"""

from __future__ import annotations

import argparse
import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.signal import resample_poly
from yamnet import YamNet

from echat_eval.errors import BadData
from echat_eval.systems.hibari_voice import HibariVoice
from echat_eval.testset.clips import Part, Placed, clips_of
from echat_eval.testset.event_takes import TAKES
from echat_eval.testset.plan import ClipPlan
from echat_eval.testset.synthetic_events import DRAWS, EVENTS, RATE, synthetic_event

if TYPE_CHECKING:
    from numpy.typing import NDArray

OUT = Path(__file__).resolve().parents[3] / "echat_eval" / "testset" / "event_takes.py"
#: Longest sound, seconds; the words need the rest of a clip.
LONGEST = 1.1
#: Form of the clips in which the sounds are tagged.
FORM = ClipPlan()
#: Pitches and seeds of noise at which a take must be recognised.
CONDITIONS = ((200.0, 0), (120.0, 1))


@cache
def words() -> NDArray[np.float64]:
    """Return plain speech, beside which the sounds are tagged."""
    speech = HibariVoice().say("The small room is free.")
    return np.asarray(resample_poly(speech.samples.astype(np.float64), 2, 3))


def quality(tagger: YamNet, label: str, take: list[float]) -> tuple[float, float]:
    """Return the lowest lead over all other events (logits), and the lowest logit."""
    leads, logits = [], []
    for pitch, seed in CONDITIONS:
        sound = synthetic_event(label, take, pitch, seed=seed)
        if len(sound) > LONGEST * RATE:
            return -99.0, -99.0
        placed = Placed(sound=sound, level_db=2.0, last=bool(seed))
        try:
            part = Part(speech=words(), event=placed, random=np.random.default_rng(seed))
            (clip,) = clips_of([part], FORM)
        except BadData:  # too sharp a peak
            return -99.0, -99.0
        found = tagger.events(clip)
        leads.append(found[label] - max(v for name, v in found.items() if name != label))
        logits.append(found[label])
        if leads[-1] < -6:
            break
    return min(leads), min(logits)


def climb(tagger: YamNet, label: str, seed: int, steps: int) -> tuple[list[float], float, float]:
    """Return a take with its lead and its logit."""
    random = np.random.default_rng([seed, *label.encode()])
    starts = [random.random(DRAWS).round(2).tolist() for _ in range(40)]
    starts += [list(TAKES[label][seed % len(TAKES[label])])] if TAKES.get(label) else []
    scored = [(*quality(tagger, label, take), take) for take in starts]
    lead, logit, best = max(scored, key=lambda found: min(found[0], 3.0) + 0.3 * found[1])
    for _ in range(steps):
        if lead >= 2.0 and logit >= -0.5:
            break
        changed = np.array(best)
        at = random.random(DRAWS) < random.choice([0.04, 0.12, 0.3])
        changed[at] = random.random(int(at.sum()))
        other = changed.round(2).tolist()
        new_lead, new_logit = quality(tagger, label, other)
        if min(new_lead, 3.0) + 0.3 * new_logit >= min(lead, 3.0) + 0.3 * logit:
            lead, logit, best = new_lead, new_logit, other
    return best, lead, logit


def main() -> None:
    """Search, and write what was found beside what is kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("labels", nargs="*", default=list(EVENTS))
    parser.add_argument("--takes", type=int, default=8)
    parser.add_argument("--steps", type=int, default=300)
    arguments = parser.parse_args()
    tagger, kept = YamNet(), {label: [list(take) for take in takes] for label, takes in TAKES.items()}
    for label in arguments.labels:
        found = [climb(tagger, label, seed, arguments.steps) for seed in range(arguments.takes)]
        good = [take for take, lead, _ in found if lead >= 0]
        leads = ", ".join(f"{lead:.1f} ({logit:.1f})" for _, lead, logit in found)
        print(f"{label}: {len(good)} of {len(found)}: {leads}", flush=True)
        kept[label] = good
        write(kept)


def write(takes: dict[str, list[list[float]]]) -> None:
    """Write the module."""
    lines = [
        '"""Takes of synthetic events that an AudioSet tagger recognises, from choose_takes.py."""',
        "",
        "from __future__ import annotations",
        "",
        "from collections.abc import Mapping, Sequence",
        "from types import MappingProxyType",
        "",
        '__all__ = ["TAKES"]',
        "",
        "# fmt: off",
        "#: Label -> takes, each with the parameters of `synthetic_events` in the order of their use.",
        "TAKES: Mapping[str, Sequence[Sequence[float]]] = MappingProxyType({",
    ]
    for label, rows in takes.items():
        lines.append(f"    {json.dumps(label)}: (")
        for row in rows:
            numbers = [f"{value:g}" for value in row]
            pieces = [", ".join(numbers[k : k + 14]) for k in range(0, len(numbers), 14)]
            lines.append("        (" + ",\n         ".join(pieces) + "),")
        lines.append("    ),")
    OUT.write_text("\n".join([*lines, "})", "# fmt: on", ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
