"""The listening check with scripted judges: one that measures what it is sent, and three that do not.

    python bench/judges/listening.py      to bench/results/judges_listening.json (a minute)

All 36 sentences of the check. `measures F0 and energy` is `echat_eval.testing.judge_by_sound`; `reads`
answers by a hash of the words and labels; the other two always give one answer.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bench.support.machine import machine  # noqa: E402
from echat_eval.checks.listening import KINDS, ask_pairs, make_pairs, right_share, winner_share  # noqa: E402
from echat_eval.io.hashing import sha256_of  # noqa: E402
from echat_eval.judge import JudgeClient, load_judge, load_pair  # noqa: E402
from echat_eval.scorers.listening_result import MAX_WINNERS, MIN_RIGHT  # noqa: E402
from echat_eval.testing import ScriptedChatClient, judge_by_sound  # noqa: E402
from echat_eval.testing.servers import text_of  # noqa: E402

RESULTS = ROOT / "bench" / "results" / "judges_listening.json"


def reads(content: Any) -> str:
    """Return an answer that depends on the text alone."""
    return verdict(int(sha256_of(text_of(content))[:4], 16) % 3)


def verdict(number: int) -> str:
    """Return a verdict with this answer."""
    return json.dumps({"reason": "scripted", "sounds": number})


JUDGES: dict[str, Callable[[Any], str]] = {
    "measures F0 and energy": judge_by_sound,
    "reads": reads,
    "names the first": lambda content: verdict(1),
    "names neither": lambda content: verdict(0),
}


def main() -> None:
    """Put every pair to every judge and write the shares."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        pairs = make_pairs(Path(scratch))
        for name, answer in JUDGES.items():
            client: Any = ScriptedChatClient(answer)
            answers = ask_pairs(
                JudgeClient(load_judge("echat-voice-r1"), client), load_pair("echat-voice-r1"), pairs
            )
            right, winners = right_share(answers), winner_share(answers)
            assert right.low is not None
            assert winners.high is not None
            found[name] = {
                "right": asdict(right),
                "winners": asdict(winners),
                "by_kind": {
                    kind: {
                        "right": asdict(right_share(answers, [kind])),
                        "winners": asdict(winner_share(answers, kind)),
                    }
                    for kind in KINDS
                },
                "passed": right.low >= MIN_RIGHT and winners.high <= MAX_WINNERS,
            }
            print(f"{name}: right {right}, winners {winners}, passed {found[name]['passed']}")
    content = {"machine": machine(), "command": "python bench/judges/listening.py", "judges": found}
    given.out.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
