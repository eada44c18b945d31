"""Fetching a released checkpoint from the hub, and recording what the hub says it is."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING

from echat_eval.errors import BadData, NotInstalled
from echat_eval.osum.checkpoint.checkpoint import file_sha256

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FILES", "REPOSITORY", "download"]

logger = logging.getLogger(__name__)

REPOSITORY = "ASLP-lab/OSUM-EChat"

#: Short names -> files of the repository.
FILES: Mapping[str, str] = {
    "language-think": "language_think_final.pt",
    "tag-think": "tag_think_final.pt",
    "token2wav": "CosyVoice-300M-25Hz.tar",
}

_SHA256 = re.compile(r"[0-9a-f]{64}")


def download(
    name: str,
    folder: Path,
    *,
    repository: str = REPOSITORY,
    revision: str = "main",
    endpoint: str | None = None,
) -> Path:
    """Fetch a file with a progress bar, check it, and write `<file>.source.json` beside it.

    A broken fetch goes on where it stopped.

    Args:
        name: a short name of `FILES`, or a file name of the repository.
        folder: where to; made if needed.
        repository: owner/name.
        revision: branch, tag or commit.
        endpoint: base URL of the hub; None for the public one.

    Returns:
        The file's path.

    Raises:
        NotInstalled: no huggingface-hub, or the hub does not answer or has no such file.
        BadData: the bytes are not those the hub declares; the file is removed.
    """
    try:
        from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    except ImportError as error:
        raise NotInstalled("fetching needs huggingface-hub: pip install 'echat-eval[osum]'") from error
    filename = FILES.get(name, name)
    try:
        url = hf_hub_url(repository, filename, revision=revision, endpoint=endpoint)
        said = get_hf_file_metadata(url, endpoint=endpoint)
        path = Path(
            hf_hub_download(repository, filename, revision=revision, endpoint=endpoint, local_dir=folder)
        )
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise NotInstalled(f"{repository}/{filename} could not be fetched: {reason}") from error
    declared = said.etag if said.etag and _SHA256.fullmatch(said.etag) else None
    actual = file_sha256(path)
    if declared is not None and declared != actual:
        path.unlink()
        raise BadData(f"{path}: the hub declares sha256 {declared}, the file has {actual}; fetch it again")
    record = {
        "repository": repository,
        "file": filename,
        "revision": revision,
        "commit": said.commit_hash,
        "sha256_declared_by_the_hub": declared,
        "sha256": actual,
        "size": path.stat().st_size,
    }
    note = path.with_name(path.name + ".source.json")
    note.write_text(json.dumps(record, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return path
