"""Scripted parts for the tests of reports: task folders with sound, systems, an annotator and a scorer.

The real runner writes the run folders.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from echat_eval.concurrency.retry import RetryPolicy
from echat_eval.errors import NotApplicable, SystemFailure, Unavailable
from echat_eval.io.audio import audio_ref, write_wav
from echat_eval.ports import Case
from echat_eval.records import AudioRef, JudgeEvidence, Metric, Reply, Request, Score, Waveform
from echat_eval.store.run_folder import RunFolder
from echat_eval.task import load_task
from echat_eval.testing import ScriptedAnnotator, ScriptedOracle, ScriptedScorer, ScriptedSystem
from tests.support.scripted_run import evaluated

HOSTILE = '<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>$\\input{/etc/passwd}\\textbf{x}_%&#~^{}'
LABELS = {"emotion": ("anger", "happy", "sad", "neutral"), "age": ("child", "adult", "old")}
WORDS = {
    "en": ["I got the letter today", "My exam is tomorrow", "We are moving house", "The dog is at the door"],
    "zh": ["我今天收到信了", "明天我要考试", "我们要搬家了", "狗在门口"],
}


def tone(pitch: float, seconds: float = 0.3, rate: int = 8000) -> Waveform:
    at = np.arange(int(seconds * rate)) / rate
    sound = 0.4 * np.sin(2 * np.pi * pitch * at) * np.linspace(0.2, 1, len(at))
    return Waveform(samples=sound.astype(np.float32), sample_rate=rate)


def number_of(*parts: object) -> float:
    """Return a reproducible number in [0, 1)."""
    return int(hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()[:8], 16) / 2**32


def make_task(root: Path, name: str, groups: int = 8, *, hostile: bool = False) -> Any:
    """Write a task folder of contrast groups, one sample per label, and load it."""
    folder = root / name
    folder.mkdir(parents=True)
    title = {"en": name.capitalize(), "zh": {"emotion": "情绪", "age": "年龄"}[name]}
    (folder / "task.yaml").write_text(
        f"name: {name}\nversion: 1\ncues: [{name}]\ntitle: {json.dumps(title)}\ndescription: scripted\nlicence: none\n"
        "redistributable: true\n"
    )
    rows = []
    for group in range(groups):
        language = "zh" if group % 3 == 2 else "en"
        words = WORDS[language][group % 4] + f" {group}."
        for place, label in enumerate(LABELS[name]):
            ref = write_wav(tone(150 + 40 * place + 7 * group + 3 * len(name)), folder)
            rows.append(
                {
                    "id": f"g{group}-{label}",
                    "audio": ref.path.name,
                    "audio_sha256": ref.sha256,
                    "transcript": HOSTILE if hostile and group == 0 else words,
                    "cues": {name: label},
                    "language": language,
                    "source": "real" if group % 2 else "synthetic",
                    "speaker": f"s{group}",
                    "contrast_group": f"g{group}",
                    "references": [f"A reply to somebody who sounds {label}."],
                }
            )
    (folder / "samples.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return load_task(name, data=folder)


def scripted_system(
    name: str,
    skill: float,
    *,
    voice: bool = True,
    text: str | None = None,
    names_cues: bool = True,
    breaks: str | None = None,
    role: Literal["floor"] | None = None,
) -> ScriptedSystem:
    """Return a system that perceives the cue of a share `skill` of the samples, by a hash of the audio."""

    def respond(request: Request) -> Reply:
        chance = number_of(request.audio.sha256, "hears")
        if breaks == "failed" and chance < 0.15:
            raise SystemFailure("no answer from the vocoder")
        if breaks == "missing" and chance < 0.15:
            raise Unavailable("429 from the server")
        right = chance < skill
        return Reply(
            text=text or ("I hear how you feel." if right else "All right."),
            audio=tone(300 if right else 200, 0.4) if voice else None,
            think="The voice trembles; the words do not say so." if names_cues else None,
            perceived={
                "emotion": "sad" if chance < 0.6 else "happy",
                "age": "old" if chance < 0.5 else "adult",
            }
            if names_cues
            else {},
            first_audio_seconds=0.2 + skill if voice else None,
        )

    return ScriptedSystem(
        respond,
        name,
        role=role,
        fingerprint=f"scripted {skill} {text} {breaks}",
        settings={"skill": skill},
    )


def gold_labels() -> ScriptedOracle:
    """Return a ceiling."""
    return ScriptedOracle(
        lambda sample: Reply(text=f"You sound {next(iter(sample.cues.values()))}.", audio=tone(500, 0.4)),
        "gold-labels",
    )


def scripted_asr() -> ScriptedAnnotator:
    """Return a recogniser of English that also names emotions."""

    def transcribe(audio: AudioRef, language: str) -> dict[str, Any]:
        if language == "zh":
            raise NotApplicable("supports English only")
        seconds = audio_ref(audio.path).seconds
        return {
            "hypothesis": f"transcribed <b>{seconds:.1f}</b>",
            "emotion": {"sad": 0.6, "happy": 0.3, "anger": 0.1},
        }

    return ScriptedAnnotator(transcribe, "scripted-asr")


CONTRAST = Metric(
    name="cue_contrast",
    title="Cue contrast",
    unit="points",
    low=-100,
    high=100,
    higher_is_better=True,
    worst=None,
    headline=True,
    proxy=True,
)
JUDGE = Metric(
    name="judge_r0", title="Judge r0", unit="points", low=0, high=100, higher_is_better=True, worst=0
)
WER = Metric(
    name="reply_wer", title="Reply WER", unit="%", low=0, high=None, higher_is_better=False, average="ratio"
)


def marks_scorer(reason: str = "Warm, and takes up the voice.", nudge: float = 0.0) -> ScriptedScorer:
    """Return a scorer by the words of a reply, with the evidence that a judge writes."""

    def score(case: Case) -> list[Score]:
        reply, sample = case.response.reply, case.sample
        assert reply is not None
        words = reply.text or ""
        kind = words.startswith("You") + 0.6 * words.startswith("I hear")
        wobble = number_of(sample.id, sample.task, words) - 0.5
        quality = 20 + 70 * kind + 8 * wobble + nudge
        contrast = 0.0 if "for you" in words else 40 * (kind - 0.3) + 10 * wobble
        evidence = JudgeEvidence(
            grades={"cue_awareness": float(math.floor(quality / 20))},
            points=(quality,),
            variance=None,
            reasons=(reason, "Second opinion."),
            models=("scripted",),
            servers=("",),
            verdicts=("some-key",),
            prompt_sha256=("0" * 64,),
            voice_emotion=None,
            tokens=(0, 0),
        )
        return [
            case.score(
                CONTRAST, "value", value=contrast, evidence={"fit": {"own": 0.61, "others": [0.5, 0.55]}}
            ),
            case.score(JUDGE, "value", value=quality, evidence=evidence),
            case.score(WER, "not applicable", reason="a text reply")
            if reply.audio is None
            else case.score(WER, "value", value=10 * (1 + wobble), weight=float(len(words.split()))),
        ]

    return ScriptedScorer(
        score,
        "marks",
        metrics=(CONTRAST, JUDGE, WER),
        needs=("scripted-asr",),
        fingerprint=f"marks {reason}",
    )


def make_run(
    path: Path,
    tasks: Sequence[Any],
    systems: Sequence[Any],
    scorers: Sequence[Any] | None = None,
    annotators: Sequence[Any] | None = None,
) -> RunFolder:
    """Run with the real runner and return the closed run folder."""
    evaluated(
        path,
        tasks,
        list(systems),
        annotators=[scripted_asr()] if annotators is None else annotators,
        scorers=[marks_scorer()] if scorers is None else scorers,
        retry_policy=RetryPolicy(tries=1, first_wait=0.0),
    )
    return RunFolder(path)


def usual_systems() -> list[Any]:
    return [
        scripted_system("careful", 0.9),
        scripted_system("average", 0.55, breaks="failed"),
        scripted_system("text-only", 0.5, voice=False, names_cues=False),
        scripted_system("canned", 0.0, text="I am here for you.", names_cues=False, role="floor"),
        gold_labels(),
    ]
