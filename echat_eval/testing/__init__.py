"""A conformance suite for authors of adapters, and the requests that it sends."""

from __future__ import annotations

from echat_eval.testing.finding import Finding
from echat_eval.testing.requests import tone_requests
from echat_eval.testing.suite import check_system

__all__ = ["Finding", "check_system", "tone_requests"]
