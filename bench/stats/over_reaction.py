"""Sensitivity of the proxy of over-reaction: replies that suit the voice, name it, and ignore it.

    python bench/stats/over_reaction.py      to bench/results/over_reaction.json (a minute)

The groups about age and gender in the demo split whose good replies differ, read as if they were the same for
every voice; the proxy has English and Chinese anchors. Each row lists the over-reaction in percent, with its
interval over groups: 100 is always found, 0 never.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bench.support.machine import machine  # noqa: E402
from echat_eval.ports import Case  # noqa: E402
from echat_eval.records import Reply, Response, Sample  # noqa: E402
from echat_eval.scorers.over_reaction import ANCHORS, OverReaction  # noqa: E402
from echat_eval.stats import level_mean  # noqa: E402
from echat_eval.systems.canned import SENTENCES  # noqa: E402
from echat_eval.systems.label_parrot import LabelParrot  # noqa: E402
from echat_eval.task import load_task  # noqa: E402

RESULTS = ROOT / "bench" / "results" / "over_reaction.json"
VARIED: dict[str, list[str]] = {
    "en": [
        "Happy to help with that.",
        "Sure, tell me a bit more first.",
        "That sounds like quite a day.",
        "Let me think about it with you.",
        "Good question. Where shall we start?",
    ],
    "ja": [
        "喜んでお手伝いします。",
        "もちろんです。もう少し教えてください。",
        "大変な一日でしたね。",
        "一緒に考えましょう。",
        "いい質問ですね。どこから始めましょうか。",
    ],
    "zh": [
        "很乐意帮忙。",
        "好的,先多告诉我一些。",
        "听起来这一天不容易。",
        "我们一起想想。",
        "好问题,从哪里开始?",
    ],
}
#: Kind of reply -> its words. "varied": as a system that samples its words, whatever the voice.
REPLIES: dict[str, Callable[[Sample, int], str]] = {
    "written for the voice": lambda sample, n: sample.references[0],
    "names the label": lambda sample, n: LabelParrot().respond_to(sample).text or "",
    "one sentence": lambda sample, n: SENTENCES[sample.language],
    "varied": lambda sample, n: VARIED[sample.language][n % 5],
}


def case(sample: Sample, words: str) -> Case:
    response = Response(
        key="", system="s", task=sample.task, sample_id=sample.id, state="value", reply=Reply(text=words)
    )
    return Case(sample=replace(sample, expect="same"), response=response, annotations={})


def main() -> None:
    facts, scorer, rows = machine(), OverReaction(), []
    for task in ("age", "gender"):
        samples = [
            sample
            for sample in load_task(task).samples
            if sample.expect is None and (task, sample.language) in ANCHORS
        ]
        for kind, words in REPLIES.items():
            scores = scorer.score([case(s, words(s, n)) for n, s in enumerate(samples)])
            found = level_mean(
                [score.value for score in scores if score.value is not None],
                [s.contrast_group for s in samples],
                low=-100,
                high=100,
            )
            row: dict[str, str | float | None] = {
                "task": task,
                "replies": kind,
                "value": round(found.value, 1),
                "n": found.n,
            }
            row |= {
                name: None if x is None else round(x, 1)
                for name, x in (("low", found.low), ("high", found.high))
            }
            rows.append(row)
            print(row)
    content = {"command": "python bench/stats/over_reaction.py", "machine": facts, "rows": rows}
    RESULTS.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
