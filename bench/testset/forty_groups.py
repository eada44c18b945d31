"""Time the build of 40 contrast groups: a scripted text server, the embedded voice and embedded instruments.

Usage: python bench/testset/forty_groups.py [--out bench/results/testset.json]
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from echat_eval.testing import ScriptedChatServer
from echat_eval.testset import build, read_plan

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "build-testset"
SENTENCES = (
    "My book came back this morning.",
    "The reading group meets tomorrow.",
    "You called me about the atlas.",
    "It closes at six on Fridays.",
    "I left my card at the desk.",
    "She reads from her novel tonight.",
    "Somebody took the corner room.",
    "A letter with your stamp arrived.",
    "They found the blue notebook.",
    "The poetry course starts in May.",
    "My order is still on its way.",
    "You open an hour later now.",
    "The new card has my name on it.",
    "He signs books after the talk.",
    "We have the study from nine.",
    "The fine is on my account.",
    "Where is the return box?",
    "How long can I keep a film?",
    "Which floor are the maps on?",
    "When does the bus stop here?",
)


def answer(request: dict[str, Any]) -> str:
    """Return a sentence of its own for every sentence that is asked for, with replies."""
    names = request["response_format"]["json_schema"]["schema"]["required"][1:]
    replies = {name: f"This is {name.replace('_', ' ')}, as a person would say it to you." for name in names}
    return json.dumps({"transcript": SENTENCES[request["seed"] % 10_000], **replies})


def main() -> None:
    """Build twice, and write the times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder, ScriptedChatServer(answer) as server:
        plan_text = (EXAMPLE / "plan.yaml").read_text(encoding="utf-8")
        plan_text = plan_text.replace("http://127.0.0.1:8000/v1", server.url)
        plan_text = plan_text.replace("prompts: prompts", f"prompts: {EXAMPLE / 'prompts'}")
        path = Path(folder) / "plan.yaml"
        path.write_text(plan_text, encoding="utf-8")
        plan = read_plan(path)
        times = []
        for _ in range(2):
            wall, processor = time.monotonic(), time.process_time()
            built = build(plan, Path(folder) / "out")
            times.append((round(time.monotonic() - wall, 1), round(time.process_time() - processor, 1)))
            print(built, times[-1], *built.dropped, sep="\n", flush=True)
    result = {
        "command": "python bench/testset/forty_groups.py",
        "machine": f"{os.cpu_count()} shared cores of an AMD EPYC",
        "groups": built.groups,
        "clips": built.clips,
        "dropped": len(built.dropped),
        "wall_seconds": times[0][0],
        "processor_seconds": times[0][1],
        "again_wall_seconds": times[1][0],
    }
    print(json.dumps(result, indent=1))
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
