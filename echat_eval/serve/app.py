"""The routes of the server, and who may use them."""

from __future__ import annotations

import hmac
import logging
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from echat_eval.clients.network import is_loopback
from echat_eval.serve.api_error import ApiError
from echat_eval.serve.chat import ChatEndpoint, error_response
from echat_eval.serve.chat_request import check_model
from echat_eval.serve.realtime import RealtimeSession

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from starlette.types import ASGIApp, Receive, Scope, Send

    from echat_eval.serve.answerer import ModelFacts
    from echat_eval.serve.service import Service

__all__ = ["build_app"]

logger = logging.getLogger(__name__)

#: Paths that need no key: they show nothing but whether the server is up.
_OPEN_PATHS = ("/health", "/health/live", "/health/ready")


def build_app(service: Service, *, key: str | None = None, loopback: bool = True) -> ASGIApp:
    """Return the server as an ASGI application.

    Args:
        key: that clients must present; None for none.
        loopback: the server listens on this machine alone, so that no request names another host.
    """
    routes = Routes(service)
    app = Starlette(
        routes=[
            Route("/health", routes.health),
            Route("/health/live", routes.live),
            Route("/health/ready", routes.health),
            Route("/v1/models", routes.models),
            Route("/v1/models/{model:path}", routes.model),
            Route("/v1/chat/completions", ChatEndpoint(service), methods=["POST"]),
            WebSocketRoute("/v1/realtime", routes.realtime),
        ],
        exception_handlers={HTTPException: _http_error, ApiError: _api_error},
    )
    return Guard(app, key=key, loopback=loopback)


class Guard:
    """Refuses clients without the key, and web pages of other sites.

    A page in a browser on this machine reaches a server on loopback, if need be under a name of its own that
    resolves to this machine.
    """

    def __init__(self, app: ASGIApp, *, key: str | None, loopback: bool) -> None:
        self._app, self._loopback = app, loopback
        self._key = None if key is None else key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] in ("http", "websocket"):
            try:
                self._check(HTTPConnection(scope))
            except ApiError as error:
                await _refuse(error, scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _check(self, connection: HTTPConnection) -> None:
        host, origin = connection.headers.get("host", ""), connection.headers.get("origin")
        try:
            is_here = is_loopback(f"http://{host}")
        except ValueError:
            is_here = False
        if self._loopback and not is_here:
            raise ApiError(403, "the request names another host; this server answers on this machine only")
        if origin is not None and origin.partition("://")[2] != host:
            raise ApiError(403, "requests of web pages of other sites are refused")
        if self._key is None or connection.url.path in _OPEN_PATHS:
            return
        kind, _, given = connection.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self._key):
            raise ApiError(401, "a wrong key, or none; send the header Authorization: Bearer KEY")


async def _refuse(error: ApiError, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request or a handshake with an error."""
    response, client = error_response(error), scope.get("client")
    logger.info("%s: refused: %s", client[0] if client else "a client", error.message)
    if scope["type"] == "http":
        await response(scope, receive, send)
        return
    await WebSocket(scope, receive, send).send_denial_response(response)


def _http_error(request: Request, error: Exception) -> Response:
    """Return an error of the routing: no such path, or another method."""
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        return error_response(ApiError(405, f"{request.method} is not allowed here"))
    return error_response(ApiError(404, f"no such path: {request.url.path[:80]}"))


def _api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return error_response(error)


class Routes:
    """All routes but the chat's."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def live(self, request: Request) -> Response:
        """Return that the server runs."""
        return JSONResponse({"live": True})

    async def health(self, request: Request) -> Response:
        """Return whether the server takes requests, with status 503 if it does not, and how busy it is."""
        load, ready = self._service.answerer.load(), not self._service.draining
        state = {
            "live": True,
            "ready": ready,
            "running": load.running,
            "waiting": load.waiting,
            "slots": load.slots,
            "connections": self._service.active,
        }
        return JSONResponse(state, status_code=200 if ready else 503)

    async def models(self, request: Request) -> Response:
        """Return the list of models: one."""
        return JSONResponse({"object": "list", "data": [_listed(self._service.answerer.facts)]})

    async def model(self, request: Request) -> Response:
        """Return the model, if it is this one."""
        check_model(request.path_params["model"], self._service.answerer.facts)
        return JSONResponse(_listed(self._service.answerer.facts))

    async def realtime(self, socket: WebSocket) -> None:
        """Hold a live session, or refuse its handshake."""
        try:
            with self._service.admitted():
                if (model := socket.query_params.get("model")) is not None:
                    check_model(model, self._service.answerer.facts)
                await RealtimeSession(self._service, socket).run()
        except ApiError as error:
            await _refuse(error, socket.scope, socket.receive, socket.send)


def _listed(facts: ModelFacts) -> Mapping[str, Any]:
    """Return the entry of a model, which holds everything that determines its replies."""
    return {
        "id": facts.name,
        "object": "model",
        "created": 0,
        "owned_by": "echat-eval",
        "fingerprint": facts.fingerprint,
        "licence": facts.licence,
        "mode": facts.mode,
        "voices": [facts.voice] if facts.voice is not None else [],
        "sample_rate": facts.sample_rate or None,
        "max_audio_seconds": facts.max_audio_seconds,
        "max_tokens": facts.max_tokens,
        "takes_history": facts.takes_history,
        "takes_instruction": facts.takes_instruction,
        "settings": dict(facts.settings),
    }
