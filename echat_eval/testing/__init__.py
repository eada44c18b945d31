"""A conformance suite for adapter authors, and the fakes it needs."""

from __future__ import annotations

from echat_eval.testing.finding import Finding
from echat_eval.testing.questions import made_requests
from echat_eval.testing.suite import check_system

__all__ = ["Finding", "check_system", "made_requests"]
