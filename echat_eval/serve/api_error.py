"""Errors in the form of OpenAI's API; no text of a foreign exception leaves the server."""

from __future__ import annotations

import logging
import math
from typing import Any

from echat_eval.errors import EChatError, NotApplicable, SystemFailure, Unavailable

__all__ = ["ApiError", "api_error_of"]

logger = logging.getLogger(__name__)

#: Status -> kind of error and its usual code, in OpenAI's words.
_KINDS = {
    400: ("invalid_request_error", "invalid_value"),
    401: ("authentication_error", "invalid_api_key"),
    403: ("permission_error", "forbidden"),
    404: ("invalid_request_error", "not_found"),
    405: ("invalid_request_error", "method_not_allowed"),
    408: ("invalid_request_error", "request_timeout"),
    413: ("invalid_request_error", "request_too_large"),
    415: ("invalid_request_error", "unsupported_media_type"),
    429: ("rate_limit_error", "rate_limit_exceeded"),
    500: ("server_error", "internal_error"),
    503: ("server_error", "service_unavailable"),
    504: ("server_error", "deadline_exceeded"),
}


class ApiError(Exception):
    """An error that a client sees.

    Args:
        status: HTTP status.
        message: what was found, expected, and what to do.
        param: place in the request, such as "messages[0].content".
        code: replaces the status's usual code.
        retry_after: seconds to wait.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param = status, message, param
        self.type, usual = _KINDS[status]
        self.code = code or usual
        self.retry_after = retry_after

    @property
    def body(self) -> dict[str, Any]:
        """Return the error object."""
        return {"message": self.message, "type": self.type, "param": self.param, "code": self.code}

    @property
    def headers(self) -> dict[str, str]:
        """Return Retry-After, in whole seconds, and how to present a key."""
        headers = {}
        if self.retry_after is not None:
            headers["retry-after"] = str(max(1, math.ceil(self.retry_after)))
        if self.status == 401:
            headers["www-authenticate"] = "Bearer"
        return headers


def api_error_of(error: BaseException, *, decoding: bool = False) -> ApiError:
    """Return the error that a client sees; an exception that is not ours is logged here and not shown.

    Args:
        decoding: the question was accepted, so that a failure is the model's.
    """
    if isinstance(error, ApiError):
        return error
    if isinstance(error, TimeoutError):
        return ApiError(504, "no whole reply within the server's time limit; ask for a shorter one, or later")
    if isinstance(error, NotApplicable):
        return ApiError(400, str(error), param="messages", code="unsupported_value")
    if isinstance(error, SystemFailure) and not decoding:
        too_long = "do not fit" in str(error)
        return ApiError(400, str(error), code="context_length_exceeded" if too_long else "invalid_audio")
    if isinstance(error, Unavailable):
        if error.overloaded:
            return ApiError(429, str(error), retry_after=error.retry_after or 1.0)
        return ApiError(503, str(error), retry_after=1.0)
    if isinstance(error, EChatError):
        return ApiError(500, str(error))
    logger.error("a bug of ours", exc_info=error)
    return ApiError(500, "an internal error of the server; its log has more")
