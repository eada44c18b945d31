"""Runs as tables: `[NAME=]PATH[:SYSTEM]`, with the hashes and settings behind them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from echat_eval.analysis.frames import CONTENT, IN_ALL, check_table, one_system, read_table
from echat_eval.analysis.stated import stated_facts
from echat_eval.errors import BadData
from echat_eval.io import jsonl
from echat_eval.io.hashing import digest as hash_of
from echat_eval.io.hashing import file_sha256
from echat_eval.io.schema import STRING, TEXT, Rule, Schema, is_text, list_of, whole
from echat_eval.io.unfinished import is_half_made
from echat_eval.labels import gold_label
from echat_eval.records import AudioRef, Score
from echat_eval.store.anchors import ANCHOR_ROW, AnchorPoints, anchors_path, present_anchors, read_anchors
from echat_eval.store.comparable import sample_contents, version_differences
from echat_eval.store.in_all import left_out_of_all
from echat_eval.store.manifest import RunManifest
from echat_eval.store.manifest_file import environment_from, metric_from
from echat_eval.store.select import RunSpec, is_baseline, open_run, parse_spec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pandas as pd

    from echat_eval.records import Metric, Response, Sample
    from echat_eval.store.run_folder import RunFolder

__all__ = [
    "ACCEPTED_FORMAT",
    "JudgeModel",
    "ScoredSystem",
    "differences",
    "latency_not_comparable",
    "live_modes_differ",
    "load_scored_system",
    "metric_facts",
    "score_rows",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeModel:
    """A model that graded replies: as it is asked for, and the address of its server."""

    model: str
    url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredSystem:
    """One system's scores and their origin.

    Attributes:
        name: the name that its spec gives it, else the spec.
        system: the one system in `frame`.
        frame: a checked long table.
        metrics: name -> direction, range, average, worst, unit, from the manifest; empty for a table file.
        hashes: (kind, name) -> hash of a task, scorer (with judge and rubric) or annotator.
        manifest: of the run; empty for a table file.
        accepted_at: ISO time, if `gate accept` wrote this run.
        changed: whether the table differs from the accepted one.
        folder: path of the run folder; "" for a table or an accepted baseline.
        accepted_in: path of the folder of an accepted baseline; "" for others.
        baseline_id: of an accepted baseline; it stays the same when its replies are scored again. "" if an
            older version accepted it, or it is none.
        judges: models that graded the replies.
        anchors: points of shared replies that the judges graded again in this run.
        spec: as the run was named; "" for a table in memory.
        commit: of the code or weights behind an accepted baseline; "" if unknown.
    """

    name: str
    system: str
    frame: pd.DataFrame
    metrics: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    hashes: Mapping[tuple[str, str], str] = field(default_factory=dict)
    manifest: RunManifest = field(default_factory=RunManifest)
    accepted_at: str | None = None
    changed: bool = False
    folder: str = ""
    accepted_in: str = ""
    baseline_id: str = ""
    judges: tuple[JudgeModel, ...] = ()
    anchors: tuple[AnchorPoints, ...] = ()
    spec: str = ""
    commit: str = ""

    @property
    def facts(self) -> Mapping[str, Mapping[str, Any]]:
        """Return what is known of the metrics: from the manifest, or from the columns of a table."""
        return self.metrics or stated_facts(self.frame)


_OBJECT = Rule(lambda value: isinstance(value, dict), "an object")
#: Increased when an older version could misread a baseline; one without a format has format 1.
ACCEPTED_FORMAT = 2
#: `accepted.json`, as `gate accept` writes it; a later version may add facts.
_ACCEPTED = Schema(
    {
        "system": TEXT,
        "metrics": list_of(_OBJECT, "a list of objects"),
        "hashes": list_of(
            Rule(lambda value: isinstance(value, list) and len(value) == 3 and all(map(is_text, value)), ""),
            "a list of kind, name and hash",
        ),
        "environment": _OBJECT,
        "accepted_at": TEXT,
        "sha256": TEXT,
        "format": whole(1).optional(),
        "id": TEXT.optional(),
        "commit": STRING.optional(),
        "judges": list_of(_OBJECT, "a list of objects").optional(),
        "anchors": list_of(Rule(ANCHOR_ROW.holds, "points of an anchor"), "a list of anchors").optional(),
    },
    closed=False,
)


def load_scored_system(spec: str) -> ScoredSystem:
    """Return one system of a run folder or of a table.

    Args:
        spec: `[NAME=]PATH[:SYSTEM]`, as `open_run` takes it; the path may also be a table file or a baseline
            of `gate accept`.

    Raises:
        BadData: the path does not exist or cannot be read.
        UsageError: several systems and none named; UnknownName: no system has that name.
    """
    found = parse_spec(spec)
    if not found.path.exists():
        raise BadData(f"{found.path}: no such run folder or table")
    if is_half_made(found.path):
        raise BadData(
            f"{found.path}: `echat-eval gate accept` was interrupted while it wrote this folder; run it again"
        )
    if found.path.is_file():
        frame = _named(read_table(found.path), found)
        return ScoredSystem(name=found.shown, system=frame["system"].iloc[0], frame=frame)
    return _accepted(found) if is_baseline(found.path) else _from_folder(found)


def _named(table: pd.DataFrame, spec: RunSpec) -> pd.DataFrame:
    """Return the rows of the system that a spec names, under the name that the spec gives it."""
    frame = one_system(table, spec.system, location=str(spec.path))
    return frame if spec.label is None else frame.assign(system=spec.label)


def differences(*runs: ScoredSystem) -> list[str]:
    """Return one sentence for every task, scorer and annotator whose version differs between two runs."""
    return version_differences([(run.name, run.hashes) for run in runs], [_models(run) for run in runs])


def _models(run: ScoredSystem) -> dict[str, str]:
    """Return scorer -> model of its judge; of an accepted baseline, if it had one judge."""
    if run.manifest.scorers or len(run.judges) != 1:
        return run.manifest.judge_models()
    return {
        name: run.judges[0].model
        for kind, name in run.hashes
        if kind == "scorers" and name.startswith("judged")
    }


def _from_folder(spec: RunSpec) -> ScoredSystem:
    from echat_eval.store.ledger import require_finished

    folder, path = open_run(spec.text), spec.path
    manifest = folder.manifest()
    scores = folder.scores().values()
    if not scores:
        raise BadData(f"{path}: no scores yet; make them with `echat-eval run {path}`")
    samples = {(s.task, s.id): s for s in folder.samples()}
    cues = {name: facts.cues for name, facts in manifest.tasks.items()}
    table = score_rows([*scores, *_timings(folder)], samples, folder.responses(), manifest.metrics, cues)
    frame = one_system(check_table(table, location=str(path)), location=str(path))
    require_finished(folder, only=frame["system"].iloc[0])
    return ScoredSystem(
        name=spec.shown,
        system=frame["system"].iloc[0],
        frame=frame,
        metrics={metric.name: metric_facts(metric) for metric in manifest.metrics},
        hashes=manifest.hashes(),
        manifest=manifest,
        folder=str(path),
        judges=_judges_of(manifest),
        anchors=present_anchors(read_anchors(anchors_path(path))),
        spec=spec.text,
    )


def score_rows(
    scores: Iterable[Score],
    samples: Mapping[tuple[str, str], Sample],
    responses: Mapping[tuple[str, str, str], Response],
    metrics: Iterable[Metric],
    cues: Mapping[str, object] | None = None,
) -> pd.DataFrame:
    """Return scores as a long table, with the facts of their samples and a hash of each reply.

    Args:
        scores: of one or more systems.
        samples: (task, sample id) -> sample.
        responses: (system, task, sample id) -> response.
        metrics: that the scores belong to.
        cues: task -> the cues that it defines.
    """
    import pandas as pd

    apart = left_out_of_all(metrics, samples.values())
    replies, contents = _reply_hashes(responses), sample_contents(samples.values(), cues)
    rows = []
    for score in scores:
        sample = samples[score.task, score.sample_id]
        rows.append(
            {
                "task": score.task,
                "sample_id": score.sample_id,
                "system": score.system,
                "metric": score.metric,
                "state": score.state,
                "value": score.value,
                "weight": score.weight,
                "reply": replies.get((score.system, score.task, score.sample_id)),
                "transcript": sample.transcript,
                "language": sample.language,
                "source": sample.source,
                "speaker": sample.speaker,
                "contrast_group": sample.contrast_group,
                "label": gold_label(sample.cues, sample.asks),
                CONTENT: contents[score.task, score.sample_id],
                IN_ALL: "no" if apart(score) else None,
            }
        )
    return pd.DataFrame(rows)


def _reply_hashes(responses: Mapping[tuple[str, str, str], Response]) -> dict[tuple[str, str, str], str]:
    """Return (system, task, sample id) -> hash of the reply: its words, sound and perceived labels."""
    hashes = {}
    for ident, response in responses.items():
        if (reply := response.reply) is not None:
            sound = reply.audio.sha256 if isinstance(reply.audio, AudioRef) else None
            hashes[ident] = hash_of("reply", [reply.text, sound, dict(reply.perceived)])
    return hashes


def _accepted(spec: RunSpec) -> ScoredSystem:
    """Return the run that `gate accept` wrote."""
    path = spec.path
    file = path / "accepted.json"
    try:
        facts = jsonl.loads(file.read_bytes())
        _ACCEPTED.check(facts, str(file))
        if (facts.get("format") or 1) > ACCEPTED_FORMAT:
            raise BadData(
                f"{file}: a baseline of format {facts['format']}; this version reads {ACCEPTED_FORMAT} and "
                "older: update it, or accept a run again"
            )
        digest = file_sha256(path / "table.jsonl")
        metrics = [_accepted_metric(row, f"{file}: metrics") for row in facts["metrics"]]
        return ScoredSystem(
            name=spec.shown,
            system=spec.label or facts["system"],
            frame=_named(read_table(path / "table.jsonl"), spec),
            metrics={metric.name: metric_facts(metric) for metric in metrics},
            hashes={(kind, name): value for kind, name, value in facts["hashes"]},
            manifest=RunManifest(
                environment=environment_from(facts["environment"], f"{file}: environment"),
                metrics=tuple(metrics),
            ),
            accepted_at=datetime.fromisoformat(facts["accepted_at"]).astimezone(UTC).isoformat(),
            changed=digest != facts["sha256"],
            accepted_in=str(path),
            baseline_id=facts.get("id") or "",
            commit=facts.get("commit") or "",
            spec=spec.text,
            judges=tuple(_judge(row, f"{file}: judges") for row in facts.get("judges") or ()),
            anchors=tuple(AnchorPoints(**row) for row in facts.get("anchors") or ()),
        )
    except (OSError, ValueError, OverflowError) as error:
        raise BadData(
            f"{path}: not written by `echat-eval gate accept`: {error}; accept a run again"
        ) from error


_JUDGE = Schema({"model": TEXT, "url": STRING.optional()}, closed=False)


def _judge(row: Mapping[str, Any], location: str) -> JudgeModel:
    _JUDGE.check(row, location)
    return JudgeModel(model=row["model"], url=row.get("url"))


def _judges_of(manifest: RunManifest) -> tuple[JudgeModel, ...]:
    """Return the models of the judges of a run: the scorers that have a model and a rubric."""
    found = {}
    for facts in manifest.scorers.values():
        model, url = facts.settings.get("model"), facts.settings.get("url")
        if isinstance(model, str) and "rubric" in facts.settings:
            found[model, url] = JudgeModel(model=model, url=url if isinstance(url, str) else None)
    return tuple(found.values())


def _accepted_metric(row: Mapping[str, Any], location: str) -> Metric:
    """Return a metric that `metric_facts` described."""
    return metric_from({**row, "average": "macro recall"} if row.get("average") == "macro" else row, location)


def metric_facts(metric: Metric) -> dict[str, Any]:
    """Return a metric with the average's name in policies: "macro recall" is "macro" there."""
    return {**asdict(metric), "average": "macro" if metric.average == "macro recall" else metric.average}


def _timings(folder: RunFolder) -> list[Score]:
    """Return first-audio seconds, seconds and real-time factor of every timed response as scores.

    Metrics that a scorer has written are not added again.
    """
    found = []
    scored = {metric for *_, metric in folder.scores()}
    for response in folder.responses().values():
        reply = response.reply
        if reply is None or response.seconds is None:
            continue
        audio = reply.audio.seconds if isinstance(reply.audio, AudioRef) else None
        measured = {
            "first_audio_seconds": reply.first_audio_seconds,
            "seconds": response.seconds,
            "rtf": response.seconds / audio if audio else None,
        }
        found += [
            Score(
                key="",
                system=response.system,
                task=response.task,
                sample_id=response.sample_id,
                metric=metric,
                state="value",
                value=value,
            )
            for metric, value in measured.items()
            if value is not None and metric not in scored
        ]
    return found


#: Settings of live systems by which the meaning of their times differs.
_LIVE_MODES = ("turn", "pace")


def latency_not_comparable(candidate: ScoredSystem, against: ScoredSystem) -> str:
    """Return why the candidate's latency cannot be compared with another run's; empty if it can."""
    system = candidate.manifest.systems.get(candidate.system)
    calls_at_once = system.calls_at_once if system is not None else None
    if calls_at_once != 1:
        finding = (
            "does not record how many calls it made at once"
            if calls_at_once is None
            else f"made {calls_at_once} calls at once"
        )
        return f"{candidate.name} {finding}; measure latency with --calls-at-once 1"
    settings = candidate.manifest.settings
    if settings is not None and settings.overlap:
        return (
            f"{candidate.name} was annotated and scored while it was responding; "
            "measure latency with --no-overlap"
        )
    cached = candidate.manifest.cache.get("response", {}).get(candidate.system)
    if cached is not None and cached.hits:
        return (
            f"{cached.hits} replies of {candidate.name} came from the cache and were not timed; "
            "measure latency in a new folder with --no-cache"
        )
    if differs := live_modes_differ(candidate, against):
        return differs
    environments = (candidate.manifest.environment, against.manifest.environment)
    ours, theirs = (found.hardware if found is not None else None for found in environments)
    return (
        "" if ours is not None and ours == theirs else "the two runs were not measured on the same hardware"
    )


def live_modes_differ(candidate: ScoredSystem, against: ScoredSystem) -> str:
    """Return how the modes of two live systems differ; empty if they do not, or one is no live system."""
    facts = (run.manifest.systems.get(run.system) for run in (candidate, against))
    ours, theirs = ({} if found is None else found.settings for found in facts)
    for mode in _LIVE_MODES:
        if mode in ours and mode in theirs and ours[mode] != theirs[mode]:
            return (
                f"{candidate.name} was measured with {mode}={ours[mode]} and {against.name} with "
                f"{mode}={theirs[mode]}; measure both in one mode"
            )
    return ""
