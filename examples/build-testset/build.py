# %% [markdown]
# # Build a test set of your own
#
# A plan names the domain, the cues and their labels, the languages and the voices. Three stages make a task
# folder of it: a server writes sentences and replies, a voice speaks each sentence with each label, and the
# folder is written with its data card. What a stage made is kept, so the same command goes on where it ended.
#
#     python build.py plan.yaml --out my-tasks/library --estimate
#     python build.py plan.yaml --out my-tasks/library --max-cost 2

# %%
import argparse
from pathlib import Path

from echat_eval.cli import run_program
from echat_eval.cost.budget import read_budget
from echat_eval.errors import RunError
from echat_eval.testset import STAGES, assignments, build, estimate_texts, read_plan

# %%
parser = argparse.ArgumentParser()
parser.add_argument("plan", type=Path)
parser.add_argument("--out", type=Path, required=True)
parser.add_argument("--stage", action="append", choices=STAGES, help="run only this stage; repeatable")
parser.add_argument("--estimate", action="store_true", help="print calls and cost, and send nothing")
parser.add_argument("--max-cost", help="US dollars that the text server may cost")
parser.add_argument("--prices", type=Path, help="price table, if the model is in none")
arguments = parser.parse_args()


# %%
def show(stage: str, done: int, total: int) -> None:
    """Print the progress of a stage, ten times."""
    if done == total or done % max(1, total // 10) == 0:
        print(f"{stage}: {done} of {total}", flush=True)


def main() -> None:
    """Build, or estimate."""
    plan = read_plan(arguments.plan)
    budget = read_budget(arguments.prices, arguments.max_cost)
    if arguments.estimate:
        print(estimate_texts(plan, assignments(plan), budget))
        return
    stages = arguments.stage or STAGES
    built = build(plan, arguments.out, stages=stages, budget=budget, on_progress=show)
    print(built)
    if built.task is not None:
        print(f"check it: echat-eval check task {built.task}")
    if built.lacking:
        raise RunError(f"{built.lacking}; {arguments.out / 'dropped.jsonl'} has the reasons")


# One line and a code for every error and for Ctrl-C, as the command line has.
if __name__ == "__main__":
    run_program(main)
