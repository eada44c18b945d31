"""llama.cpp's OpenAI-compatible server inside this process, on a free loopback port."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from echat_eval.concurrency.memory import demand_memory
from echat_eval.errors import NotInstalled
from echat_eval.io.bundled_models import asset_file, installed_version
from echat_eval.io.hashing import unchanged_file_sha256

__all__ = ["EMBEDDED", "LlamaServer"]

#: The embedded model, as the server names it.
EMBEDDED = "smollm2-135m-instruct"
#: Bytes of address space that the server's threads take: about a dozen stacks and heaps of 72 MiB at most.
THREADS_ADDRESS_SPACE = 2**30


@dataclass(slots=True, kw_only=True)
class LlamaServer:
    """Serves one GGUF file until it is closed; several servers may run at the same time.

    Attributes:
        model: path of a GGUF file; None for the embedded model.
        threads: number of llama.cpp threads; more than one can change the last bits of a logit.
        context: context length in tokens.
    """

    model: Path | None = None
    threads: int = 1
    context: int = 2048
    _server: Any = field(default=None, init=False, repr=False)

    @property
    def url(self) -> str:
        """Return the base URL for an OpenAI client; start the server if it is not running.

        Raises:
            NotInstalled: xllamacpp or the model is not installed.
        """
        if self._server is None:
            self._server = self._start()
        return f"{self._server.listening_address.rstrip('/')}/v1"

    def close(self) -> None:
        """Stop the server and its threads."""
        self._server = None

    def fingerprint(self) -> str:
        """Return engine version and hash of the weights."""
        return f"xllamacpp {installed_version('xllamacpp')} {unchanged_file_sha256(self._path())}"

    def _path(self) -> Path:
        return self.model or asset_file(EMBEDDED)

    def _start(self) -> Any:
        path = self._path()
        # Without memory for its threads, the library ends the process.
        demand_memory(path.stat().st_size + THREADS_ADDRESS_SPACE)
        try:
            import xllamacpp
        except ImportError as error:
            raise NotInstalled(
                "the embedded language model needs xllamacpp; pip install xllamacpp==2026.10.11549, "
                "or set llm_url and llm_model to use another server"
            ) from error
        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.model_alias = [EMBEDDED] if self.model is None else [path.stem]
        params.n_ctx, params.n_parallel = self.context, 1
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = self.threads
        # A partly cached prompt is computed in different batches, which changes the last bits.
        params.cache_prompt = False
        params.warmup = False
        params.verbosity = -1
        params.hostnames, params.port = ["127.0.0.1"], 0
        with contextlib.suppress(AttributeError):  # turn off the web page; older builds have no such option
            params.ui = False
        return xllamacpp.Server(params)
