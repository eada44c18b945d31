"""The page: a static folder that opens from disk without network access.

HTML, style and scripts are copied from `reports/page/`. Texts of systems, samples and judges are data in
`data/*.js`; the scripts insert them as text, never as markup.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from echat_eval.errors import BadData
from echat_eval.io import jsonl
from echat_eval.io.audio import check_content, read_mono, wav_bytes
from echat_eval.io.data_folder import data_folder
from echat_eval.io.hashing import sha256_of
from echat_eval.records import Waveform
from echat_eval.report.licences import may_pass_on, withheld_audio
from echat_eval.report.page_data import SHARD, board_data, detail_data, index_data

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from echat_eval.io.unfinished import NewFolder
    from echat_eval.leaderboard.published import Published
    from echat_eval.ports import Progress
    from echat_eval.records import AudioRef
    from echat_eval.report.anonymous import Disguise
    from echat_eval.report.outlet import Outlet
    from echat_eval.report.runs import MergedRuns

__all__ = ["OUTLINE", "PageFront", "SoundStore", "data_script", "page_assets", "write_page"]

logger = logging.getLogger(__name__)

#: Points of a waveform outline.
OUTLINE = 160
#: One character per point, from silence to full scale.
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_"
#: File endings that browsers map to an audio type; other files are stored without an ending.
_ENDINGS = {".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".m4a", ".aac", ".webm"}


def page_assets(name: str) -> list[Path]:
    """Return the shipped files of a page, sorted by name.

    Raises:
        BadData: the installation has none.
    """
    folder = data_folder("reports") / name
    found = sorted(path for path in folder.glob("*") if path.suffix in {".html", ".css", ".js"})
    if not found:
        raise BadData(f"{folder}: no page files; reinstall echat-eval")
    return found


def data_script(name: str, value: Any) -> str:
    """Return a script that passes one value to the page as JSON text.

    The page parses the text, because `{"__proto__": ...}` has another meaning in a script than in JSON.

    >>> data_script("board", {"a": "</script>"})
    'EChat.receive("board","{\\\\"a\\\\":\\\\"\\\\u003c/script>\\\\"}");\\n'
    """
    text = jsonl.dumps(jsonl.dumps(value))
    for character, escape in (("<", "\\u003c"), ("\u2028", "\\u2028"), ("\u2029", "\\u2029")):
        text = text.replace(character, escape)
    return f"EChat.receive({jsonl.dumps(name)},{text});\n"


class SoundStore:
    """Stores each distinct sound once, under its hash, with its outline.

    Args:
        outlet: output folder.
        folder: subfolder; "" is the output folder itself.
        bare: store the samples alone, without what a file may state about where it was made.
        withheld: hashes of sounds that are not published.
    """

    def __init__(
        self,
        outlet: Outlet | NewFolder,
        folder: str,
        *,
        bare: bool = False,
        withheld: frozenset[str] = frozenset(),
    ) -> None:
        self._outlet = outlet
        self._folder = folder
        self._bare = bare
        self._withheld = withheld
        self._known: dict[str, dict[str, Any]] = {}

    def __call__(self, audio: AudioRef | None) -> dict[str, Any] | None:
        """Return name, seconds and outline of a stored sound; the name is None if it is withheld or gone."""
        if audio is None:
            return None
        if audio.sha256 in self._withheld:
            return {"seconds": round(audio.seconds, 3), "file": None, "outline": "", "withheld": True}
        if audio.sha256 not in self._known:
            self._known[audio.sha256] = self._store(audio)
        return self._known[audio.sha256]

    def _store(self, audio: AudioRef) -> dict[str, Any]:
        facts: dict[str, Any] = {"seconds": round(audio.seconds, 3), "sha256": audio.sha256}
        if not audio.path.is_file():
            return {**facts, "file": None, "outline": ""}
        try:
            check_content(audio)
        except BadData as error:
            logger.warning("%s; it is not published", error)
            return {**facts, "file": None, "outline": ""}
        if self._bare:
            return {**facts, **self._stored_bare(audio)}
        ending = audio.path.suffix.lower()
        name = f"audio/{audio.sha256}{ending if ending in _ENDINGS else ''}"
        inside = f"{self._folder}/{name}" if self._folder else name
        self._outlet.copy(inside, audio.path, audio.sha256)
        return {**facts, "file": name, "outline": _outline(audio.path)}

    def _stored_bare(self, audio: AudioRef) -> dict[str, Any]:
        samples, rate = read_mono(audio.path, rate=None)
        content = wav_bytes(Waveform(samples=samples, sample_rate=rate))
        sha256 = sha256_of(content)
        name = f"audio/{sha256}.wav"
        self._outlet.write(f"{self._folder}/{name}" if self._folder else name, content)
        return {"sha256": sha256, "file": name, "outline": _outline(audio.path)}


def _outline(path: Path) -> str:
    """Return the peak of each of OUTLINE equal segments as base-64 digits."""
    import numpy as np

    try:
        sound, _ = read_mono(path, rate=None)
    except BadData:
        return ""
    edges = np.linspace(0, len(sound), OUTLINE + 1).astype(int)
    peaks = [float(np.abs(sound[a:b]).max()) if b > a else 0.0 for a, b in pairwise(edges)]
    return "".join(_DIGITS[min(63, round(min(1.0, peak) * 63))] for peak in peaks)


@dataclass(frozen=True, slots=True, kw_only=True)
class PageFront:
    """The head of the page.

    Attributes:
        title: of the page; "" is the leaderboard's own.
        authors: as printed; "" for none.
        disguise: other names for systems and samples, for a blind review.
    """

    title: str = ""
    authors: str = ""
    disguise: Disguise | None = None


def write_page(
    runs: MergedRuns,
    outlet: Outlet,
    *,
    published: Sequence[Published],
    progress: Progress,
    with_audio: bool = False,
    front: PageFront | None = None,
    folder: str = "page",
) -> None:
    """Write the page of some runs into `folder` of an outlet.

    Args:
        with_audio: publish also recordings whose task does not state that they may be passed on.
        front: title, authors and disguise; with a disguise the runs have its names already.
    """
    front = front or PageFront()
    hidden = front.disguise
    runs = runs if hidden is None else hidden.disguised(runs)

    def write(name: str, value: Any) -> None:
        outlet.write(f"{folder}/data/{name}.js", data_script(name, value))

    for path in page_assets("page"):
        outlet.write(f"{folder}/{path.name}", path.read_bytes())
    audible = {task for task in runs.tasks if with_audio or may_pass_on(runs.tasks, task)}
    title = front.title if hidden is None else hidden.text(front.title)
    head = {"title": title, "authors": front.authors, "anonymous": hidden is not None}
    board = board_data(runs, published, audible)
    write("board", {**head, **(board if hidden is None else hidden.board(board))})
    write("index", index_data(runs))
    samples = list(runs.samples.values())
    withheld = withheld_audio(runs.tasks, samples, with_audio=with_audio)
    sound = SoundStore(outlet, folder, bare=hidden is not None, withheld=withheld)
    progress.stage("page", len(samples), 0)
    for start in range(0, len(samples), SHARD):
        chunk = samples[start : start + SHARD]
        write(f"shard-{start // SHARD}", [detail_data(runs, sample, sound) for sample in chunk])
        progress.advance(len(chunk))
