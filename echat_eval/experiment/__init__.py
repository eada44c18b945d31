"""The experiment: everything that determines the results of a run, from a file, a command or Python."""

from echat_eval.experiment.experiment import Experiment
from echat_eval.experiment.file import is_experiment_file, read_experiment
from echat_eval.experiment.folder import (
    experiment_of_folder,
    is_run_folder,
    refuse_foreign_tasks,
    unfinished_part,
)
from echat_eval.experiment.overrides import GROUPS, with_arguments, with_settings
from echat_eval.experiment.record import (
    Command,
    read_commands,
    recorded_content,
    recorded_text,
    recording,
)
from echat_eval.experiment.resolved import resolved
from echat_eval.experiment.tasks import SELECTING, ExperimentTask, select_experiment_tasks

__all__ = [
    "GROUPS",
    "SELECTING",
    "Command",
    "Experiment",
    "ExperimentTask",
    "experiment_of_folder",
    "is_experiment_file",
    "is_run_folder",
    "read_commands",
    "read_experiment",
    "recorded_content",
    "recorded_text",
    "recording",
    "refuse_foreign_tasks",
    "resolved",
    "select_experiment_tasks",
    "unfinished_part",
    "with_arguments",
    "with_settings",
]
