"""The exact prompt text and markers of each mode. Released weights depend on every character.

Source: OSUM-EChat, commit f2bcfac, wenet/osum_echat/llmasr_model_instruct_version.py (lines 332-342 and
722) and infer_gradio.py (lines 67-92). The apostrophe in the think prompt is U+2019.
"""

# ruff: noqa: E501 - the strings are exact

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from echat_eval.errors import UnknownName

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ASSISTANT", "END", "SYSTEM", "TASKS", "USER", "Task", "system", "task_named"]

_A = "You are OSUM-chat, a"
_BY = "assistant by ASLP Lab. You"
_CUES = "understand both the meaning and paralinguistic cues in speech"
_EXCLUSIVELY = "then respond exclusively with appropriate text."

SYSTEM: Mapping[str, str] = MappingProxyType(
    {
        "s2s": f"{_A} speech-to-speech dialogue {_BY} {_CUES} then respond with appropriate text and emotionally matching synthetic speech.",
        "s2s-think": f"{_A} speech-to-speech dialogue {_BY} {_CUES}. Before responding, first output your reasoning inside <think>...</think end>, analyzing the user’s words and vocal cues. Then generate a reply with appropriate text and emotionally matched synthetic speech.",
        "s2s-stream": f"{_A} speech-to-speech dialogue {_BY} analyze speech (content + paralinguistic cues) and respond with interleaved text and emotionally-matched synthetic speech.",
        "s2s-stream-think": f"{_A} speech-to-speech dialogue {_BY} analyze speech (both content and paralinguistic cues). Before responding, output your reasoning in <think>...</think end>. Then reply with interleaved text and emotionally matched synthetic speech.",
        "s2t": f"{_A} speech-to-text dialogue {_BY} {_CUES} {_EXCLUSIVELY}",
        "s2t-think": f"{_A} thinking-enabled speech-to-text dialogue {_BY} not only comprehend the semantic meaning and paralinguistic cues in speech but also engage in deliberate reasoning to process such information. Based on this thinking process, you {_EXCLUSIVELY}",
        "t2t": f"{_A} text-to-text dialogue {_BY} understand user input in text {_EXCLUSIVELY}",
        "understand": f"{_A}n audio understanding {_BY} can transcribe speech accurately and analyze paralinguistic cues to provide precise text responses.",
        # The prompt as the public inference code sends it, damaged by a search-and-replace.
        "understand-upstream": f"{_A}n audio understanding. You can transcribe speech accurately and anaosum_echat2e paralinguistic cues to provide precise text responses.",
        "tts": f"{_A} speech synthesis {_BY} generate natural and fluent speech from text input.",
        "tts-stream": f"{_A} speech synthesis {_BY} generate natural speech from text input and output both audio and the original text in interleaved format.",
        "qwen": "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.",
    }
)

USER = "<|im_start|>user\n"
ASSISTANT = "<|im_end|>\n<|im_start|>assistant\n"
END = "<|im_end|>\n"


def system(name: str) -> str:
    """Return the system turn of a prompt name, with its markers."""
    return f"<|im_start|>system\n{SYSTEM[name]}<|im_end|>\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A question about audio.

    Attributes:
        prompt: the demo's prompt, placed before the audio.
        transcript: the answer begins with a transcript.
        cues: tags at the end of the answer, in this order; "style" is not a cue of the benchmark.
    """

    prompt: str
    transcript: bool = True
    cues: tuple[str, ...] = ()


def _bare(prompt: str, *cues: str) -> Task:
    return Task(prompt=prompt, transcript=False, cues=cues)


def _after_transcript(prompt: str, *cues: str) -> Task:
    return Task(prompt=prompt, cues=cues)


TASKS: Mapping[str, Task] = MappingProxyType(
    {
        "asr": _after_transcript("转录这段音频中的语音内容为文字。"),
        "asr-batch": _after_transcript("将这段音频的语音内容详细记录为文字稿。"),
        "asr+punctuation": _after_transcript(
            "需对提供的语音文件执行文本转换，同时为转换结果补充必要的标点。"
        ),
        "align": _after_transcript(
            "请识别音频内容，并对所有英文词和中文字进行时间对齐，标注格式为<>，时间精度0.1秒。"
        ),
        "asr+event": _after_transcript(
            "请将音频转化为文字，并在末尾添加相关音频事件标签，标签格式为<>。", "event"
        ),
        "asr+emotion": _after_transcript(
            "请将音频内容转录成文字记录，并在记录末尾标注情感标签,以<>表示。", "emotion"
        ),
        "asr+style": _after_transcript(
            "请将音频中的讲话内容转化为文字，并在结尾处注明风格标签，用<>表示。", "style"
        ),
        "asr+gender": _after_transcript(
            "请将音频转录为文字，并在文本末尾标注性别标签，标签格式为<>。", "gender"
        ),
        "asr+age": _after_transcript("请将这段音频转录成文字，并在末尾加上年龄标签，格式为<>。", "age"),
        "asr+reply": _after_transcript(
            "首先将语音转录为文字，然后对语音内容进行回复，转录和文字之间使用<开始回答>分割。"
        ),
        "age": _bare("请根据音频分析发言者的年龄并输出年龄标签，标签格式为<>。", "age"),
        "gender": _bare("根据下述音频内容判断说话者性别，返回性别标签，格式为<>.", "gender"),
        "style": _bare("对于以下音频，请直接判断风格并返回风格标签，标签格式为<>。", "style"),
        "emotion": _bare("请鉴别音频中的发言者情感并标出，标签格式为<>。", "emotion"),
        "event": _bare("对音频进行标签化，返回音频事件标签，标签格式为<>。", "event"),
        "asr+age+gender": _after_transcript(
            "请将这段音频进行转录，并在转录完成的文本末尾附加<年龄> <性别>标签。", "age", "gender"
        ),
        "age+gender": _bare("请识别以下音频发言者的年龄和性别.", "age", "gender"),
        "asr+style+age+gender": _after_transcript(
            "请对以下音频内容进行转录，并在文本结尾分别添加<风格>、<年龄>、<性别>标签。",
            "style",
            "age",
            "gender",
        ),
        "style+age+gender": _bare(
            "请对以下音频进行分析，识别说话风格、说话者年龄和性别。", "style", "age", "gender"
        ),
        "asr+event+age+gender": _after_transcript(
            "请将以下音频内容进行转录，并在转录完成的文本末尾分别附加<音频事件>、<年龄>、<性别>标签。",
            "event",
            "age",
            "gender",
        ),
        "asr+emotion+age+gender": _after_transcript(
            "请将下列音频内容进行转录，并在转录文本的末尾分别添加<情感>、<年龄>、<性别>标签。",
            "emotion",
            "age",
            "gender",
        ),
    }
)


def task_named(name: str) -> Task:
    """Return an understanding task.

    Raises:
        UnknownName: no such task; the message suggests the nearest name.
    """
    if name not in TASKS:
        raise UnknownName("understanding task", name, TASKS)
    return TASKS[name]
