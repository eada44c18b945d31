"""Word error rate of the recordings of the listening check: the words survive the re-voicing.

    python bench/judges/listening_words.py      to bench/results/judges_listening_words.json (two minutes)

The English sentences, by tone, with the embedded Whisper tiny.en.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bench.support.machine import machine  # noqa: E402
from echat_eval.annotators.whisper import Whisper  # noqa: E402
from echat_eval.checks.listening import make_pairs  # noqa: E402
from echat_eval.scorers.error_rate import count_edits  # noqa: E402
from echat_eval.scorers.normalize import words as words_of  # noqa: E402

RESULTS = ROOT / "bench" / "results" / "judges_listening_words.json"


def main() -> None:
    """Transcribe every recording once and write the word error rate by tone."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    counts: dict[str, list[int]] = {}
    whisper = Whisper()
    with tempfile.TemporaryDirectory() as scratch:
        done: set[str] = set()
        for pair in make_pairs(Path(scratch)):
            tones = {"identical": pair.label, "flattened": "flattened", "other voice": "other voice"}
            tone = tones.get(pair.kind)
            if pair.language != "en" or tone is None or pair.other.sha256 in done:
                continue
            done.add(pair.other.sha256)
            found: Any = whisper.annotate(pair.other, language="en")
            edits = count_edits(words_of(pair.words, "en"), words_of(found["hypothesis"], "en"))
            row = counts.setdefault(tone, [0, 0, 0])
            row[0] += edits.errors
            row[1] += edits.reference
            row[2] += 1
    rates = {
        tone: {"wer_percent": round(100 * errors / words, 1), "words": words, "recordings": recordings}
        for tone, (errors, words, recordings) in sorted(counts.items())
    }
    for tone, rate in rates.items():
        print(tone, rate)
    content = {"machine": machine(), "command": "python bench/judges/listening_words.py", "tones": rates}
    given.out.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
