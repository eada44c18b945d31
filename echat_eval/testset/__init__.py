"""Makes a test set: dialogues whose reply depends on the voice, in any domain.

The stages are texts, clips and writing; `build` runs them, and each can be run alone. The pipeline follows
the idea of EChat-200K (arXiv 2508.09600); prompts, checks and code are this project's.
"""

from echat_eval.testset.assign import assignments
from echat_eval.testset.build import STAGES, Built, build
from echat_eval.testset.plan import Plan, read_plan
from echat_eval.testset.sentences import Dropped, Member, Sentence
from echat_eval.testset.text_server import estimate_texts

__all__ = [
    "STAGES",
    "Built",
    "Dropped",
    "Member",
    "Plan",
    "Sentence",
    "assignments",
    "build",
    "estimate_texts",
    "read_plan",
]
