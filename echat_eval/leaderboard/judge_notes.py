"""Notes on judges under a leaderboard: a rubric's cap, position, length, variance, and families of models."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean, variance
from typing import TYPE_CHECKING, Any

from echat_eval.io.display import number_text
from echat_eval.io.schema import Rule, is_whole, mapping_of
from echat_eval.judge.recordings import is_limit_fault
from echat_eval.scorers.judged_match import ANSWERS

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from echat_eval.records import JudgeEvidence, Response, Score
    from echat_eval.stats import Estimate
    from echat_eval.store.manifest import RunManifest

_ORDER = Rule(lambda v: isinstance(v, list) and len(v) == 3 and all(is_whole(n, low=0) for n in v), "")
_COUNTS = mapping_of(
    Rule(lambda v: isinstance(v, list) and len(v) == 2 and all(map(_ORDER.holds, v)), ""), ""
)

__all__ = ["cap_lines", "family_lines", "family_of_model", "limit_lines", "match_lines", "variance_lines"]


def cap_lines(judged: Iterable[tuple[Score, JudgeEvidence]]) -> list[str]:
    """Return, per metric and system, the mean score with and without the rubric's cap.

    Scores of earlier versions, which did not keep the second, are left out.
    """
    pairs: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for score, evidence in judged:
        if evidence.uncapped is not None:
            pair = fmean(evidence.points), fmean(evidence.uncapped)
            pairs.setdefault((score.metric, score.system), []).append(pair)
    lines = []
    for (metric, system), found in pairs.items():
        capped = sum(with_cap < without for with_cap, without in found)
        with_cap, without = (fmean(values) for values in zip(*found, strict=True))
        lines.append(
            f"- {metric} of {system} with the rubric's cap {number_text(with_cap, 1)}, without it "
            f"{number_text(without, 1)}: {capped} of {len(found)} judged replies are capped"
        )
    return lines


def limit_lines(scores: Iterable[Score]) -> list[str]:
    """Return, per metric and system, the number of replies over the limit of a judge that listens."""
    rows: dict[tuple[str, str], list[Score]] = {}
    for score in scores:
        rows.setdefault((score.metric, score.system), []).append(score)
    lines = []
    for (metric, system), found in rows.items():
        over = [score.reason or "" for score in found if is_limit_fault(score.reason)]
        if over:
            lines.append(
                f"- {metric} of {system}: {len(over)} of {len(found)} replies are not applicable and in no "
                f"mean, because recordings are over the judge's limit; one: {over[0]}"
            )
    return lines


def match_lines(
    scores: Iterable[Score],
    responses: Mapping[tuple[str, str, str], Response],
    clusters: Mapping[tuple[str, str], Hashable],
) -> list[str]:
    """Return, per match rate of a judge and system: effects of position and length, and how answers vary.

    Args:
        scores: all scores; those of the match question hold the counts of answers.
        responses: (system, task, sample id) -> response.
        clusters: (task, sample id) -> cluster.
    """
    rows: dict[tuple[str, str], list[Score]] = {}
    for score in scores:
        if _answers(score):
            rows.setdefault((score.metric, score.system), []).append(score)
    return [
        f"- {metric} of {system}: "
        + "; ".join(filter(None, (_position(found, clusters), _length(found, responses, clusters))))
        for (metric, system), found in rows.items()
    ]


def _answers(score: Score) -> dict[str, list[list[int]]]:
    """Return id of the other sample -> answers for own voice, ties, other voice, in both orders.

    Empty for other scores, and for those of earlier versions, which did not keep the answers.
    """
    found: Any = score.evidence.get(ANSWERS) if isinstance(score.evidence, Mapping) else None
    return dict(found) if _COUNTS.holds(found) else {}


def _position(rows: Sequence[Score], clusters: Mapping[tuple[str, str], Hashable]) -> str:
    from echat_eval.stats.means import cluster_mean

    shares, owners = [], []
    ties = count = disagree = questions = 0
    for score in rows:
        for first, second in _answers(score).values():
            ties, count = ties + first[1] + second[1], count + sum(first) + sum(second)
            disagree += sum(max(order) < sum(order) for order in (first, second))
            questions += 2
            # With the own voice second, an answer for the other voice names the first.
            if named := first[0] + first[2] + second[0] + second[2]:
                shares.append(100.0 * (first[0] + second[2]) / named)
                owners.append(clusters[score.task, score.sample_id])
    tied = f"ties {100 * ties / count:.0f} % of {count} answers" if count else "no answers"
    varied = f", {100 * disagree / questions:.0f} % of questions answered in several ways" if disagree else ""
    if not shares:
        return f"{tied}{varied}"
    named_first = interval_text(cluster_mean(shares, owners))
    return f"the first voice is named in {named_first} % (50: no effect of position); {tied}{varied}"


def _length(
    rows: Sequence[Score],
    responses: Mapping[tuple[str, str, str], Response],
    clusters: Mapping[tuple[str, str], Hashable],
) -> str:
    """Return how much more often the longer reply of a pair is taken for its own voice's; "" if unknown."""
    from echat_eval.stats.means import cluster_mean

    by_id = {(score.task, score.sample_id): score for score in rows}
    differences, owners = [], []
    for (task, sample_id), score in by_id.items():
        for other_id in _answers(score):
            other = by_id.get((task, other_id))
            if other is None or sample_id >= other_id or sample_id not in _answers(other):
                continue
            lengths = [_words(responses, score.system, task, name) for name in (sample_id, other_id)]
            if lengths[0] == lengths[1] or 0 in lengths:
                continue
            own = _own(_answers(score)[other_id]) - _own(_answers(other)[sample_id])
            differences.append(own if lengths[0] > lengths[1] else 0.0 - own)
            owners.append(clusters[task, sample_id])
    if not differences:
        return ""
    found = interval_text(cluster_mean(differences, owners))
    return (
        f"the longer of two replies is taken for its own voice's {found} points more often (0: no effect of "
        "length)"
    )


def _words(responses: Mapping[tuple[str, str, str], Response], system: str, task: str, sample_id: str) -> int:
    response = responses.get((system, task, sample_id))
    reply = None if response is None else response.reply
    return 0 if reply is None else len(reply.text or "")


def _own(counts: list[list[int]]) -> float:
    """Return the share of answers for the own voice, in percent; a tie counts half."""
    return 100.0 * sum(own + ties / 2 for own, ties, _ in counts) / sum(map(sum, counts))


def variance_lines(judged: Iterable[tuple[Score, JudgeEvidence]]) -> list[str]:
    """Return, per metric and system with repeated verdicts: the judge's variance beside that of samples."""
    found: dict[tuple[str, str], list[JudgeEvidence]] = {}
    for score, evidence in judged:
        if evidence.variance is not None:
            found.setdefault((score.metric, score.system), []).append(evidence)
    lines = []
    for (metric, system), rows in found.items():
        if len(rows) > 1:
            within = fmean(row.variance or 0.0 for row in rows)
            between = variance(fmean(row.points) for row in rows)
            lines.append(
                f"- {metric} of {system}: variance between a judge's repeats {within:.1f}, between samples "
                f"{between:.1f} ({len(rows)} samples)"
            )
    return lines


#: Family of models -> beginnings of the names of its models, without maker and path.
_FAMILIES: dict[str, tuple[str, ...]] = {
    "OpenAI GPT": ("gpt-", "chatgpt", "o1", "o3", "o4"),
    "Qwen": ("qwen", "qwq"),
    "Gemini": ("gemini", "gemma"),
    "Claude": ("claude",),
    "Llama": ("llama", "meta-llama"),
    "Mistral": ("mistral", "mixtral", "voxtral"),
    "DeepSeek": ("deepseek",),
    "GLM": ("glm", "chatglm"),
    "Step": ("step-",),
    "Kimi": ("kimi", "moonshot"),
    "Doubao": ("doubao", "seed-"),
}


def family_of_model(model: str) -> str | None:
    """Return the family of a model by its name; None: not known.

    >>> family_of_model("Qwen/Qwen2.5-72B-Instruct"), family_of_model("gpt-4o"), family_of_model("m")
    ('Qwen', 'OpenAI GPT', None)
    """
    name = model.rstrip("/").rpartition("/")[2].lower()
    return next((family for family, begins in _FAMILIES.items() if name.startswith(begins)), None)


def family_lines(manifests: Iterable[RunManifest]) -> list[str]:
    """Return one line per judge and system whose models are of one family: judges favour their own."""
    lines: dict[str, None] = {}
    for manifest in manifests:
        judges = {
            str(facts.settings["model"])
            for facts in manifest.scorers.values()
            if "rubric" in facts.settings and "model" in facts.settings
        }
        for name, system in manifest.systems.items():
            model = str(system.settings.get("model") or name)
            for judge in sorted(judges):
                family = family_of_model(judge)
                if family is not None and family == family_of_model(model):
                    lines[
                        f"- judge {judge} and system {name} ({model}) are of one family, {family}: a judge "
                        "may favour its own family; add a judge of another one"
                    ] = None
    return list(lines)


def interval_text(estimate: Estimate) -> str:
    """Return a value with its interval."""
    if estimate.low is None or estimate.high is None:
        return f"{number_text(estimate.value, 1)} [{estimate.no_interval}]"
    bounds = f"{number_text(estimate.low, 1)}, {number_text(estimate.high, 1)}"
    return f"{number_text(estimate.value, 1)} [{bounds}]"
