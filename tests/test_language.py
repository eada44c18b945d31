"""The words of the project: names that the field uses, and plain English.

Banned names are compared with identifiers in code. Banned phrases are compared with comments, docstrings,
messages and documents. Add a pair here when a name changes, so that the old one does not come back.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

#: Old name -> the name to use.
NAMES = {
    "Patience": "RetryPolicy",
    "patience": "retry_policy",
    "Attempted": "CallResult",
    "attempt": "call_with_retries",
    "Lane": "WorkQueue",
    "lane": "queue",
    "discount": "exclude_from_latency",
    "crowded": "overloaded",
    "Recall": "ReuseIndex",
    "knows": "contains",
    "blank": "pending",
    "blanks": "pending",
    "settle_earlier_scores": "invalidate_stale_scores",
    "Responding": "ResponseStage",
    "Annotating": "AnnotationStage",
    "Scoring": "ScoringStage",
    "told": "on_result, options, ...",
    "grew": "on_progress",
    "WORD_EARS": "ASR_ANNOTATORS",
    "VOICE_EARS": "EMOTION_ANNOTATORS",
    "Ears": "AudioEncoder",
    "ear": "recogniser, annotator",
    "ears": "annotators",
    "about": "estimate",
    "payer": "billed_client",
    "Jury": "JudgeClient",
    "jury": "judge_client",
    "juries": "judge_clients",
    "Tenure": "ServerIdentityLog",
    "tenure": "identity_log",
    "Served": "ServerIdentity",
    "greet": "identify",
    "greet_judge": "identify_judge",
    "Asking": "JudgeScorer",
    "Away": "RemoteProxy",
    "parcel": "message",
    "hire": "start",
    "dismiss": "stop",
    "LIVES": "MAX_WORKER_RESTARTS",
    "Fills": "ImputedEstimates",
    "seen_after": "min_detectable",
    "sure_bounds": "worst_case_bounds",
    "why_untimed": "latency_not_comparable",
    "refuse_unlike": "require_comparable",
    "Ask": "GenerationRequest",
    "Made": "GenerationResult",
    "Kept": "CudaGraphCache",
    "Phases": "DecodingState",
    "edge": "speech_bos_eos, boundary",
    "cap": "max_new_tokens",
    "Loop": "DecodeLoop",
    "Team": "EnginePool",
    "team": "pool",
    "let_go": "free_memory",
    "ran_out": "is_oom",
    "recipe": "weight_map",
    "chosen": "options, selected",
    "there": "placement, present",
    "heard": "annotators, annotation, hypothesis",
    "its": "name what it holds",
    "where": "location, placement",
    "asked": "request, requested",
}
#: Phrases that no message, comment or document uses.
PHRASES = {
    r"\b(says|tells|told|knows|knew|hears|heard)\b": "programs print, report, detect, return",
    r"\b(is|are|was|were|be|been) said\b|\b(said|say) so\b": "is printed, is reported, states this",
    r"\bears?\b": "recogniser, annotator",
    r"\b(jury|juries|tenure|patience)\b": "see NAMES",
    r"\bso (many|much) (?!as\b|that\b)": "at most N",
    r"\bof one name\b": "with the same name",
    r"\bsurely\b": "state the interval or the probability",
    r"\b(nobody|anybody|everybody|whoever)\b": "no system, every worker, ...",
    r"(?:^|(?<=[.;:!?]\s)|(?<=\"\"\")|(?<=^# )|(?<=^#: ))(What|Who|Whoever)\b(?![^.?]*\?)": "no clause as a subject",
}
#: Strings of prompts and stored rows, which must not change.
STORED = {'"not heard"', '"heard shuffled"'}
#: Prompts sent to models: part of a hash, so their words stay.
ALLOWED = (
    "what is said in the recording",
    "Answer what the user says",
    "Answer what was said to you",
)
TEST_NAMES = re.compile(
    r"^test_(what|who|nobody)_|_(nobody|anybody|everybody|says|said|tells|told|knows|heard|ears?|jury|surely)(_|$)"
)

PYTHON = sorted(
    path
    for folder in ("echat_eval", "bench", "tests", "tools")
    for path in (ROOT / folder).rglob("*.py")
    if "_data" not in path.parts and path != Path(__file__).resolve()
)
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def identifiers(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and name of everything that a module names itself."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.lineno, node.id
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.keyword) and node.arg is not None:
            yield node.value.lineno, node.arg
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name


def prose(source: str) -> Iterator[tuple[int, str]]:
    """Yield line and text of comments, docstrings and messages; words of data hold no space."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        is_prose = token.type == tokenize.STRING and " " in token.string and token.string not in STORED
        if token.type == tokenize.COMMENT or is_prose:
            for number, line in enumerate(token.string.splitlines()):
                yield token.start[0] + number, line.strip()


def faults_of(path: Path) -> list[str]:
    """Return the banned names and phrases of a Python file or a document."""
    text = path.read_text(encoding="utf-8")
    faults = []
    if path.suffix == ".py":
        for number, name in identifiers(ast.parse(text)):
            if name in NAMES:
                faults.append(f"{path}:{number}: name '{name}'; use {NAMES[name]}")
            if path.is_relative_to(ROOT / "tests") and TEST_NAMES.search(name):
                faults.append(f"{path}:{number}: test name '{name}'; name the behaviour plainly")
        lines = [] if path.is_relative_to(ROOT / "tests") else list(prose(text))
    else:
        outside = re.sub(r"```.*?```", lambda block: "\n" * block[0].count("\n"), text, flags=re.DOTALL)
        lines = [(number, line) for number, line in enumerate(outside.splitlines(), 1)]
    for number, line in lines:
        for pattern, advice in PHRASES.items():
            if (found := re.search(pattern, line)) and not any(words in line for words in ALLOWED):
                faults.append(f"{path}:{number}: '{found[0]}'; {advice}: {line[:90]}")
    return faults


@pytest.mark.parametrize("path", [*PYTHON, *DOCUMENTS], ids=lambda path: str(path.relative_to(ROOT)))
def test_names_and_english(path: Path) -> None:
    faults = faults_of(path)
    assert not faults, "\n" + "\n".join(faults)


@pytest.mark.parametrize(
    "line",
    [
        '"""What has no reply is missing."""',
        "# The judge says so.",
        "message = 'the ear heard no word'",
        "def call(patience): ...",
    ],
)
def test_a_planted_fault_is_found(tmp_path: Path, line: str) -> None:
    (tmp_path / "planted.py").write_text(f"{line}\n")
    assert faults_of(tmp_path / "planted.py")


if __name__ == "__main__":
    import sys

    wanted = [Path(word).resolve() for word in sys.argv[1:]]
    for file in [*PYTHON, *DOCUMENTS]:
        if any(file.is_relative_to(folder) for folder in wanted):
            print(*faults_of(file), sep="\n", end="\n" if faults_of(file) else "")
