"""Negations of labels in English and Chinese: "not angry", "没有笑声"."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["NEGATION_RULES", "negated"]

#: Version of the rules, for fingerprints.
NEGATION_RULES = "1"

# 特别 (especially), 分别 (respectively) and 不得不 (cannot but) end like a negation and are none.
_CHINESE = (
    r"(?:没有|没|无|未|(?<![特分区])别|(?<!不得)不|(?:并|绝|而|决)非|是否|与其说|缺乏|缺少|排除|否认|谈不上|算不上|称不上)"
    r"(?:那么|这么|怎么|什么|任何|明显|特别|非常|十分|丝毫|真的|真正|一点儿?|一丝|半点|很|太|大|再|真|"
    r"感到|感觉|觉得|听起来|听到|听见|听出|看到|看出|显得|表现出|表达出?|流露出?|发出|带有|带着|出现|存在|"
    r"能|会|是|在|有|算|像|属于|认为|说|想|要|出|到|得|的|地|他|她|用户|说话人|在?听){0,5}"
)
_ENGLISH = (
    r"\b(?:(?:\w+n['’]?t|not|no|never|cannot|neither|nor|hardly|barely|scarcely|non)\b|(?<!not )without\b"
    r"|lack(?:s|ed|ing)?\b(?: of)?|(?:free|absence|devoid) of|rather than|instead of|rul(?:es?|ed|ing) out)"
    r"(?:[\s-]+(?:an?|any|anything|the|very|so|that|too|quite|all|at|sounds?|sounding|seems?|seeming|appears?|be|being|"
    r"been|feels?|feeling|looks?|looking|to|of|in|as|like|signs?|traces?|hints?|evidence|clear|audible|obvious|"
    r"detectable|even|hear|heard|hearing|detect|express|expressing|shows?|showing|speaker|is|are|was|were|he|she|"
    r"they|such|loud|strong|real|genuine|say|sense|longer|overall|exactly|much|either|"
    r"(?!(?:on|mere|simp|sole)ly\b)[a-z]+ly)\b){0,6}[\s-]+"
)
_BEFORE = re.compile(rf"(?:{_CHINESE}|{_ENGLISH})$", re.I)
_AFTER = re.compile(
    r"^(?:的?(?:情绪|声音?|迹象|感觉|语气|成分|表现))?(?:倒|也|并|则|都|是)?"
    r"(?:没有(?!停|断|间断|消失|减)|谈不上|算不上|不存在|不明显|听不到|听不出|没听到)"
    r"|^\s*(?:[:?=]|-+)\s*(?:no|not|none|absent|false)\b"
    r"|^\s+(?:is|was|are|were)(?:n['’]?t|\s+not)\s+(?:present|heard|audible|detected|detectable|there)\b"
    r"|^\s+(?:is|was|are|were)\s+(?:absent|missing)\b",
    re.I,
)
#: Words between two labels that carry a negation on: "no laughter or crying".
_CARRIES = re.compile(r"\s*(?:[、/]|,?\s*\b(?:or|nor)\b|或者?|和|与|及|以及|还是)\s*(?:声音?)?", re.I)
_LIST_COMMA = re.compile(r"\s*[,，]\s*")
_ALTERNATIVE = re.compile(r"^[^.;。；]*(?:\b(?:or|nor)\b|或)", re.I)


def negated(text: str, hits: Sequence[tuple[int, int]]) -> list[bool]:
    """Return, for each word of a text, whether it is negated.

    A negation before the word, or directly after it, counts; so does that of the word before it in a list.

    Args:
        text: a clause, a sentence or an answer.
        hits: start and end of each word, in order.

    >>> negated("not angry or sad, but happy", [(4, 9), (13, 16), (22, 27)])
    [True, True, False]
    """
    result: list[bool] = []
    last = 0
    for start, end in hits:
        between = text[last:start]
        carried = bool(result) and result[-1]
        carried = carried and (
            _CARRIES.fullmatch(between) is not None
            or (_LIST_COMMA.fullmatch(between) is not None and bool(_ALTERNATIVE.match(text[end:])))
        )
        # The window is short, so that a long text costs no more per word.
        before = text[max(0, start - 80) : start]
        result.append(carried or bool(_BEFORE.search(before)) or bool(_AFTER.match(text[end : end + 40])))
        last = end
    return result
