"""A data set fetched from a hub that speaks Hugging Face's HTTP interface, every file checked by its hash.

The tree of one commit is listed first, so that what is fetched cannot change half-way; large files come
with a sha256, small ones with git's own hash, and a file that does not match is not kept.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

from echat_eval.clients.http import ask_once, check_url, client_settings, refuse_status, retry_after
from echat_eval.concurrency import event_loop
from echat_eval.errors import BadData, RunError, Unavailable, UsageError
from echat_eval.io.files import write_atomically
from echat_eval.io.jsonl import loads

__all__ = ["Fetched", "fetch_data_set"]

_REPO = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
MAX_FILES = 100_000
_MAX_REDIRECTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What was fetched.

    Attributes:
        commit: of the data set.
        files: path -> sha256.
        bytes: that came over the network now; what was there already is not fetched again.
    """

    commit: str
    files: Mapping[str, str]
    bytes: int


def fetch_data_set(
    repo: str,
    out: Path,
    *,
    hub: str,
    revision: str = "main",
    include: tuple[str, ...] = ("*",),
    token: str | None = None,
    timeout: float = 60.0,
    progress: Callable[[str, int, int], None] = lambda _name, _done, _all: None,
) -> Fetched:
    """Fetch a data set's files into a folder; running it again fetches only what is not there.

    Args:
        repo: owner/name.
        hub: base URL, such as https://huggingface.co.
        include: patterns of paths.
        token: for gated data; sent to the hub itself only, never along a redirect to another host.
        timeout: seconds until a stalled transfer is given up.
        progress: told a file's name and the bytes done and in all.

    Raises:
        UsageError: no such data set, or no right to it.
        RunError: the network gave out, or a file is not what its hash says.
    """
    if not _REPO.fullmatch(repo):
        raise UsageError(f"data set {repo!r}: expected owner/name")
    hub = check_url(hub, "hub").rstrip("/")
    headers = {"authorization": f"Bearer {token}"} if token else {}
    commit, entries = _listed(hub, repo, revision, headers, timeout)
    wanted = [e for e in entries if any(fnmatch(e["rfilename"], pattern) for pattern in include)]
    if not wanted:
        raise UsageError(f"{repo}: none of its {len(entries)} files is like {', '.join(include)}")
    total = sum(int(e.get("size") or 0) for e in wanted)
    done, came, files = 0, 0, {}
    for entry in wanted:
        name = entry["rfilename"]
        path = _place(out, name)
        if not _matches(path, entry):
            url = f"{hub}/datasets/{repo}/resolve/{commit}/{quote(name)}"
            came += _download(url, path, entry, headers, timeout)
        files[name] = _sha256(path)
        done += path.stat().st_size
        progress(name, done, max(total, done))
    return Fetched(commit=commit, files=files, bytes=came)


def _listed(
    hub: str, repo: str, revision: str, headers: Mapping[str, str], timeout: float
) -> tuple[str, list[dict[str, Any]]]:
    url = f"{hub}/api/datasets/{repo}/revision/{quote(revision, safe='')}?blobs=true"
    try:
        answer = event_loop.run(ask_once(url, headers=headers, timeout=timeout, max_bytes=256 * 2**20))
        refuse_status(answer, url)
    except Unavailable as error:
        raise RunError(f"{error}; try again later") from error
    try:
        found = loads(answer.body)
        commit, entries = found["sha"], found["siblings"]
        names = [entry["rfilename"] for entry in entries]
    except (ValueError, KeyError, TypeError) as error:
        raise BadData(f"{url}: not the listing of a data set: {error}") from error
    if not re.fullmatch(r"[0-9a-f]{40,64}", str(commit)) or len(names) > MAX_FILES:
        raise BadData(f"{url}: not the listing of a data set")
    return commit, entries


def _place(out: Path, name: Any) -> Path:
    pure = PurePosixPath(str(name))
    if not isinstance(name, str) or pure.is_absolute() or ".." in pure.parts or "\\" in name or "\0" in name:
        raise BadData(f"the hub lists a file {str(name)[:80]!r}, which leaves the folder")
    path = out / pure
    if not path.parent.resolve().is_relative_to(out.resolve()):
        raise BadData(f"the hub lists a file {name[:80]!r}, which leaves the folder by a link")
    return path


def _matches(path: Path, entry: Mapping[str, Any]) -> bool:
    """Tell whether the file is there and is what the hub says it is."""
    if not path.is_file():
        return False
    large = entry.get("lfs")
    if isinstance(large, dict) and large.get("sha256"):
        return _sha256(path) == str(large["sha256"])
    if entry.get("blobId"):
        content = path.read_bytes()
        # git's name of a small file; sha1 is what git has, and the listing came over the same channel.
        named = hashlib.sha1(f"blob {len(content)}\0".encode() + content, usedforsecurity=False)
        return named.hexdigest() == str(entry["blobId"])
    return entry.get("size") is not None and path.stat().st_size == int(entry["size"])


def _download(
    url: str, path: Path, entry: Mapping[str, Any], headers: Mapping[str, str], timeout: float
) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    size = 0
    limit = int((entry.get("lfs") or {}).get("size") or entry.get("size") or 2**40)
    try:
        with partial.open("wb") as file:
            for chunk in _chunks(url, headers, timeout):
                size += len(chunk)
                if size > limit:
                    raise RunError(f"{path.name}: longer than the {limit:,} bytes the hub announced")
                file.write(chunk)
        if not _matches(partial, entry):
            raise RunError(f"{path.name}: {size:,} bytes came that are not what the hub announced; try again")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return size


def _chunks(url: str, headers: Mapping[str, str], timeout: float) -> Iterator[bytes]:
    """Yield a file's bytes; hubs keep large files elsewhere, so other hosts are followed, tokenless."""
    import httpx

    own = urlsplit(url).netloc
    for _ in range(_MAX_REDIRECTS + 1):
        here = urlsplit(url)
        sent = {"accept-encoding": "identity"} | (dict(headers) if here.netloc == own else {})
        try:
            with (
                httpx.Client(**client_settings(url, timeout)) as client,
                client.stream("GET", url, headers=sent) as response,
            ):
                if response.is_redirect and "location" in response.headers:
                    url = check_url(urljoin(url, response.headers["location"]), "redirect")
                    if here.scheme == "https" and not url.startswith("https://"):
                        raise RunError(f"{here.netloc} redirects from https to http; refused")
                    continue
                if response.status_code != 200:
                    after = retry_after(response.headers)
                    wait = f", asked to wait {after:g} s" if after else ""
                    raise RunError(
                        f"{here.netloc}{here.path}: HTTP {response.status_code}{wait}; try again later"
                    )
                yield from response.iter_raw()
                return
        except httpx.HTTPError as error:
            raise RunError(
                f"{here.netloc}: {type(error).__name__}: {error}; the same command goes on"
            ) from error
    raise RunError(f"{url}: more than {_MAX_REDIRECTS} redirects")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_record(out: Path, repo: str, hub: str, fetched: Fetched) -> None:
    """Write beside the folder (not into it, where rows are looked for) which data set and hashes it holds."""
    import json

    facts = {"data_set": repo, "hub": hub, "commit": fetched.commit, "sha256": dict(fetched.files)}
    write_atomically(
        out.with_name(f"{out.name}.fetched.json"), json.dumps(facts, indent=1, ensure_ascii=False) + "\n"
    )
