"""Parameters of the requests to a judge's server."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from echat_eval.clients.audio_part import AudioForm

__all__ = ["JudgeParameters"]


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeParameters:
    """Parameters of the requests to a judge's server; None leaves a parameter out.

    Attributes:
        temperature: 0 for the likeliest answer; repeats still rotate the order of the dimensions.
        seed: of the first repeat; each further one adds 1.
        max_tokens: limit on an answer: a verdict with one or two sentences of reason.
        token_parameter: the server's name of that limit.
        schema: "json_schema" constrains the answer, and its last field carries the question's ticket;
            "json_object" asks for any JSON object; None: the answer is prose around exactly one verdict. In
            both of the latter, the prompt asks for the ticket.
        reasoning_effort: such as "low".
        audio_in: form of recordings for a judge that listens: "input_audio" (OpenAI, vLLM), or "audio_url" (a
            data: URL, vLLM).
    """

    temperature: float | None = 0.0
    seed: int | None = 0
    max_tokens: int | None = 400
    token_parameter: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    schema: Literal["json_schema", "json_object"] | None = "json_schema"
    reasoning_effort: str | None = None
    audio_in: AudioForm = "input_audio"

    def changed(self) -> dict[str, Any]:
        """Return the parameters that are not at their default, except temperature and prose.

        Keys of verdicts and scores hold these two anyway, and the others only if they are changed, so that
        verdicts of earlier versions stay valid.
        """
        values, defaults = asdict(self), asdict(JudgeParameters())
        kept = {k: v for k, v in values.items() if v != defaults[k] and k != "temperature"}
        if self.schema is None:
            del kept["schema"]
        return kept
