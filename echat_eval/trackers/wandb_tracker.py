"""Weights & Biases: a run as config, summary, table and page. Offline unless `mode: online` is asked for."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from echat_eval.errors import NotInstalled
from echat_eval.ports import Destination

if TYPE_CHECKING:
    from collections.abc import Sequence

    from echat_eval.ports import TrackedRun

__all__ = ["WandbTracker"]

_HOSTED = "https://api.wandb.ai"
_CONTENTS = ("the experiment", "scores", "transcripts", "gold labels", "words of replies", "audio of replies")


@dataclass(kw_only=True)
class WandbTracker:
    """Weights & Biases.

    Attributes:
        project: of the run.
        mode: "offline": files in `folder` alone, which `wandb sync` can upload; "online": sends them.
        entity: user or team; None: the account's own.
        folder: in which wandb makes its folder `wandb`; None: the run folder.
    """

    project: str = "echat-eval"
    mode: Literal["offline", "online"] = "offline"
    entity: str | None = None
    folder: str | None = None
    name: str = "wandb"

    def __post_init__(self) -> None:
        if find_spec("wandb") is None:
            raise NotInstalled("tracker 'wandb' needs wandb; pip install 'echat-eval[wandb]'")

    def destinations(self) -> Sequence[Destination]:
        """Return the server of the mode "online"; offline, nothing is sent."""
        return [] if self.mode == "offline" else [Destination(url=self._url(), contents=_CONTENTS)]

    def log(self, run: TrackedRun) -> None:
        """Write config, summary, leaderboard and page of a run."""
        folder = Path(self.folder) if self.folder is not None else run.folder
        folder.mkdir(parents=True, exist_ok=True)
        if self.mode == "offline":  # read when wandb is imported, and by the process that it starts
            os.environ["WANDB_ERROR_REPORTING"] = "false"
        os.environ["WANDB_SILENT"] = "true"
        for variable in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_ARTIFACT_DIR"):
            os.environ[variable] = str(folder.absolute() / "wandb")
        import wandb

        settings = wandb.Settings(
            silent=True,
            console="off",
            base_url=self._url(),
            x_disable_stats=True,
            x_disable_meta=True,
            disable_git=True,
            disable_code=True,
            save_code=False,
        )
        logged = wandb.init(
            project=self.project,
            entity=self.entity,
            name=run.name,
            mode=self.mode,
            dir=str(folder),
            config=dict(run.experiment),
            reinit="create_new",
            settings=settings,
        )
        failed = 1
        try:
            logged.summary.update(_summary(run))
            rows = [[row[name] for name in run.columns] for row in run.rows]
            logged.log({"leaderboard": wandb.Table(columns=list(run.columns), data=rows)})
            if run.page is not None:
                page = wandb.Artifact(name="page", type="report")
                page.add_dir(str(run.page))
                logged.log_artifact(page)
            failed = 0
        finally:
            logged.finish(exit_code=failed)

    def _url(self) -> str:
        return os.environ.get("WANDB_BASE_URL") or _HOSTED


def _summary(run: TrackedRun) -> dict[str, float | str]:
    """Return the headline of each system with its interval, as flat names."""
    values: dict[str, float | str] = {"headline": run.headline}
    for row in run.rows:
        if row["metric"] == run.headline and row["task"] == "all":
            name = f"{row['system']}/{run.headline}"
            found = {name: row["value"], f"{name}/low": row["low"], f"{name}/high": row["high"]}
            values |= {key: value for key, value in found.items() if isinstance(value, int | float)}
    return values
