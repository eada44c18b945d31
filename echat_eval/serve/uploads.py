"""Audio that clients send: decoded, checked, and kept as files of one request or session."""

from __future__ import annotations

import base64
import binascii
import itertools
import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from echat_eval.clients.http import get_once, raise_for_status
from echat_eval.clients.network import check_url
from echat_eval.concurrency import event_loop
from echat_eval.errors import BadData, EChatError
from echat_eval.io.audio import audio_ref, check_audio
from echat_eval.serve.api_error import ApiError
from echat_eval.serve.sound import wav_header

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from echat_eval.records import AudioRef
    from echat_eval.serve.limits import Limits

__all__ = ["Uploads", "base64_bytes"]

logger = logging.getLogger(__name__)

#: Seconds to fetch a recording.
_FETCH_SECONDS = 30.0


class Uploads:
    """A private temporary folder, which goes with the request or the session. Use it as a context manager."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._folder = tempfile.TemporaryDirectory(prefix="echat-eval-serve-")
        self._numbers = itertools.count()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._folder.cleanup()

    def recording(self, content: bytes, param: str, kind: str = "wav") -> AudioRef:
        """Store a recording and return a reference to it; its content is decoded once, to check it.

        Args:
            param: its place in the request, for messages.
            kind: its suffix; the content alone determines how it is read.

        Raises:
            ApiError: it is no audio, or too long.
        """
        path = Path(self._folder.name) / f"{next(self._numbers)}.{kind}"
        path.write_bytes(content)
        try:
            audio = audio_ref(path)
            if audio.seconds > self._limits.audio_seconds:
                raise BadData(
                    f"{audio.seconds:.1f} s long; this server takes at most {self._limits.audio_seconds:g} s"
                )
            check_audio(path)
        except BadData as error:
            path.unlink()
            message = str(error).removeprefix(f"{path}: ").replace(str(path), "it")
            raise ApiError(400, f"unusable audio: {message}", param=param, code="invalid_audio") from error
        return audio

    def samples(self, content: bytes, rate: int, param: str) -> AudioRef:
        """Store 16-bit samples as a recording.

        Raises:
            ApiError: as `recording`.
        """
        return self.recording(wav_header(rate, len(content)) + content, param)

    def linked(self, url: str, param: str) -> AudioRef:
        """Store the recording of a `data:` URL, or of an address on a host that the server may ask.

        Raises:
            ApiError: as `recording`; or the address is not allowed, or cannot be read.
        """
        if url[:5].lower() == "data:":
            head, comma, content = url[5:].partition(",")
            if not comma or not head.lower().endswith(";base64"):
                raise ApiError(400, "not a data URL of the form data:audio/wav;base64,...", param=param)
            return self.recording(base64_bytes(content, param), param)
        return self.recording(self._fetched(url, param), param)

    def _fetched(self, url: str, param: str) -> bytes:
        try:
            host = urlsplit(check_url(url, "url")).hostname or ""
        except EChatError as error:
            raise ApiError(400, str(error), param=param) from error
        if host not in self._limits.audio_hosts:
            raise ApiError(
                400,
                f"this server fetches no audio from {host}: send a data: URL, or start it with "
                f"--audio-host {host}",
                param=param,
            )
        limit = self._limits.body_bytes
        try:
            answer = event_loop.run(get_once(url, headers={}, timeout=_FETCH_SECONDS, max_bytes=limit))
            raise_for_status(answer, url)
        except EChatError as error:
            logger.warning("%s", error)  # the client need not see what another host answers
            raise ApiError(400, f"the audio could not be fetched from {host}", param=param) from error
        return answer.body


def base64_bytes(text: str, param: str) -> bytes:
    """Return decoded base64.

    Raises:
        ApiError: it is none, or empty.
    """
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ApiError(400, "the audio is not base64", param=param, code="invalid_audio") from error
    if not content:
        raise ApiError(400, "the audio is empty", param=param, code="invalid_audio")
    return content
