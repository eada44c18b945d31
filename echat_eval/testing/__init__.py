"""Scripted parts and conformance checks, to test parts and runs without models."""

from __future__ import annotations

from echat_eval.testing.annotator_suite import check_annotator
from echat_eval.testing.fakes import ScriptedAnnotator, ScriptedOracle, ScriptedScorer, ScriptedSystem
from echat_eval.testing.faults import FAULT_KINDS, FaultKind, fault_server
from echat_eval.testing.finding import Finding
from echat_eval.testing.listening_judge import judge_by_sound, sound_measures
from echat_eval.testing.omni_server import ScriptedOmniServer
from echat_eval.testing.raw_server import RawConnection, RawServer
from echat_eval.testing.realtime_faults import REALTIME_FAULTS, RealtimeFault
from echat_eval.testing.realtime_server import LiveSession, ScriptedRealtimeServer
from echat_eval.testing.requests import tone_requests
from echat_eval.testing.scorer_suite import check_scorer, scorer_cases
from echat_eval.testing.scripted_judge import ScriptedChatClient, judge_verdict, shown_to_judge
from echat_eval.testing.servers import ScriptedChatServer, ScriptedServer, chat_completion, prompt_of
from echat_eval.testing.suite import check_system
from echat_eval.testing.tracker_suite import check_tracker

__all__ = [
    "FAULT_KINDS",
    "REALTIME_FAULTS",
    "FaultKind",
    "Finding",
    "LiveSession",
    "RawConnection",
    "RawServer",
    "RealtimeFault",
    "ScriptedAnnotator",
    "ScriptedChatClient",
    "ScriptedChatServer",
    "ScriptedOmniServer",
    "ScriptedOracle",
    "ScriptedRealtimeServer",
    "ScriptedScorer",
    "ScriptedServer",
    "ScriptedSystem",
    "chat_completion",
    "check_annotator",
    "check_scorer",
    "check_system",
    "check_tracker",
    "fault_server",
    "judge_by_sound",
    "judge_verdict",
    "prompt_of",
    "scorer_cases",
    "shown_to_judge",
    "sound_measures",
    "tone_requests",
]
