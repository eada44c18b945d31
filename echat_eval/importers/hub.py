"""Fetch a data set from a hub with Hugging Face's HTTP interface and check every file by its hash.

The files of one commit are listed first, so that the data set cannot change half-way. Large files are listed
with a sha256, small files with git's hash. A file that does not match its hash is deleted.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

from echat_eval.clients.faults import retry_after
from echat_eval.clients.http import MAX_REDIRECTS, HttpClient, get_once, open_stream, raise_for_status
from echat_eval.clients.network import check_url
from echat_eval.concurrency import event_loop
from echat_eval.errors import BadData, RowError, RunError, Unavailable, UsageError
from echat_eval.io.files import replacing, write_atomically
from echat_eval.io.hashing import file_sha256
from echat_eval.io.jsonl import loads
from echat_eval.io.schema import STRING, Rule, Schema, list_of, whole

__all__ = ["Fetched", "fetch_data_set"]

#: Bytes per second that a download must reach on average, besides the time-out of its beginning.
MIN_SPEED = 20_000
_REPO = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
MAX_FILES = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """The result of a fetch.

    Attributes:
        commit: of the data set.
        files: path -> sha256.
        bytes: downloaded by this call; files that were already there are not counted.
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
    on_progress: Callable[[str, int, int], None] = lambda _name, _done, _total: None,
) -> Fetched:
    """Fetch a data set's files into a folder; a second call fetches only missing files.

    Args:
        repo: owner/name.
        hub: base URL, such as https://huggingface.co.
        include: patterns of the paths to fetch.
        token: for gated data; sent to the hub itself only, never along a redirect to another host.
        timeout: seconds for the listing, and for a file besides the time that `MIN_SPEED` gives its bytes.
        on_progress: called after each file with its name, the bytes done and the total.

    Raises:
        UsageError: no such data set, or access is denied.
        RunError: a network error, or a file does not match its hash.
    """
    if not _REPO.fullmatch(repo):
        raise UsageError(f"data set {repo!r}: expected owner/name")
    hub = check_url(hub, "hub").rstrip("/")
    headers = {"authorization": f"Bearer {token}"} if token else {}
    commit, entries = _list_files(hub, repo, revision, headers, timeout)
    selected = [e for e in entries if any(fnmatch(e["rfilename"], pattern) for pattern in include)]
    if not selected:
        raise UsageError(f"{repo}: none of its {len(entries)} files matches {', '.join(include)}")
    total = sum(int(e.get("size") or 0) for e in selected)
    done, downloaded, files = 0, 0, {}
    for entry in selected:
        name = entry["rfilename"]
        path = _target_path(out, name)
        if not _matches(path, entry):
            url = f"{hub}/datasets/{repo}/resolve/{commit}/{quote(name)}"
            downloaded += _download(url, path, entry, headers, timeout)
        files[name] = file_sha256(path)
        done += path.stat().st_size
        on_progress(name, done, max(total, done))
    return Fetched(commit=commit, files=files, bytes=downloaded)


_LFS = Schema({"sha256": STRING.optional(), "size": whole(0).optional()}, closed=False)
_FILE = Schema(
    {
        "rfilename": STRING,
        "size": whole(0).optional(),
        "blobId": STRING.optional(),
        "lfs": Rule(_LFS.holds, "an object", required=False),
    },
    closed=False,
)
_FILES = list_of(Rule(_FILE.holds, ""), "a list of files")


def _list_files(
    hub: str, repo: str, revision: str, headers: Mapping[str, str], timeout: float
) -> tuple[str, list[dict[str, Any]]]:
    url = f"{hub}/api/datasets/{repo}/revision/{quote(revision, safe='')}?blobs=true"
    try:
        answer = event_loop.run(get_once(url, headers=headers, timeout=timeout, max_bytes=256 * 2**20))
        raise_for_status(answer, url)
    except Unavailable as error:
        raise RunError(f"{error}; try again later") from error
    try:
        listing = loads(answer.body)
        commit, entries = listing["sha"], listing["siblings"]
        if not _FILES.holds(entries):
            raise ValueError("a file without a name, or with a size that is no number")
    except (ValueError, KeyError, TypeError) as error:
        raise BadData(f"{url}: not the listing of a data set: {error}") from error
    if not re.fullmatch(r"[0-9a-f]{40,64}", str(commit)) or len(entries) > MAX_FILES:
        raise BadData(f"{url}: not the listing of a data set")
    return commit, entries


def _target_path(out: Path, name: Any) -> Path:
    pure = PurePosixPath(str(name))
    if not isinstance(name, str) or pure.is_absolute() or ".." in pure.parts or "\\" in name or "\0" in name:
        raise BadData(f"the hub lists a file {str(name)[:80]!r}, which leaves the folder")
    path = out / pure
    if not path.parent.resolve().is_relative_to(out.resolve()):
        raise BadData(f"the hub lists a file {name[:80]!r}, a link that leaves the folder")
    return path


def _matches(path: Path, entry: Mapping[str, Any]) -> bool:
    """Return whether the file exists and has the hash (or the size) that the hub lists."""
    if not path.is_file():
        return False
    large = entry.get("lfs")
    if isinstance(large, dict) and large.get("sha256"):
        return file_sha256(path) == str(large["sha256"])
    if entry.get("blobId"):
        content = path.read_bytes()
        # Small files have git's blob id, which is a sha1; the listing came over the same connection anyway.
        blob_id = hashlib.sha1(f"blob {len(content)}\0".encode() + content, usedforsecurity=False)
        return blob_id.hexdigest() == str(entry["blobId"])
    return entry.get("size") is not None and path.stat().st_size == int(entry["size"])


def _download(
    url: str, path: Path, entry: Mapping[str, Any], headers: Mapping[str, str], timeout: float
) -> int:
    limit = int((entry.get("lfs") or {}).get("size") or entry.get("size") or 2**40)
    with replacing(path, durable=False) as partial:
        try:
            size = event_loop.run(_receive(url, partial, limit, headers, timeout))
        except RowError as error:
            raise RunError(f"{path.name}: {error}; run the same command again to continue") from error
        if not _matches(partial, entry):
            raise RunError(f"{path.name}: the {size:,} bytes received do not match the hub's hash; try again")
    return size


async def _receive(url: str, path: Path, limit: int, headers: Mapping[str, str], timeout: float) -> int:
    """Write a file's bytes, at most `limit`, and return their number.

    Hubs keep large files on other hosts. Redirects to them are followed without the token.
    """
    hub_host, size = urlsplit(url).netloc, 0
    client = HttpClient("instrument")
    try:
        for _ in range(MAX_REDIRECTS + 1):
            current = urlsplit(url)
            async with open_stream(
                client,
                "GET",
                url,
                headers=headers if current.netloc == hub_host else {},
                timeout=timeout + limit / MIN_SPEED,
                max_bytes=limit,
                follow=False,
            ) as answer:
                if 300 <= answer.status < 400 and "location" in answer.headers:
                    url = check_url(urljoin(url, answer.headers["location"]), "redirect")
                    if current.scheme == "https" and not url.startswith("https://"):
                        raise RunError(f"{current.netloc} redirects from https to http; refused")
                    continue
                if answer.status != 200:
                    after = retry_after(answer.headers)
                    wait = f", Retry-After {after:g} s" if after else ""
                    raise RunError(
                        f"{current.netloc}{current.path}: HTTP {answer.status}{wait}; try again later"
                    )
                with path.open("wb") as file:
                    async for chunk in answer.chunks:
                        size += file.write(chunk)
                return size
        raise RunError(f"{url}: more than {MAX_REDIRECTS} redirects")
    finally:
        await client.aclose()


def write_record(out: Path, repo: str, hub: str, fetched: Fetched) -> None:
    """Write the data set's name, commit and hashes beside the folder; inside it is searched for rows."""
    import json

    facts = {"data_set": repo, "hub": hub, "commit": fetched.commit, "sha256": dict(fetched.files)}
    write_atomically(
        out.with_name(f"{out.name}.fetched.json"), json.dumps(facts, indent=1, ensure_ascii=False) + "\n"
    )
