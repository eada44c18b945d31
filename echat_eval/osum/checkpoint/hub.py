"""Download of a released checkpoint from the hub, with a record of its source."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING

from echat_eval.errors import BadData, NotInstalled
from echat_eval.io.files import write_atomically
from echat_eval.io.hashing import file_sha256

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
    """Download a file with a progress bar, verify it, and write `<file>.source.json` beside it.

    An interrupted download is resumed.

    Args:
        name: a short name from `FILES`, or a file name in the repository.
        folder: target folder; created if needed.
        repository: owner/name.
        revision: branch, tag or commit.
        endpoint: base URL of the hub; None for the public one.

    Returns:
        The file's path.

    Raises:
        NotInstalled: huggingface-hub is missing, the hub does not answer, or it has no such file.
        BadData: the bytes do not match the hub's sha256; the file is removed.
    """
    try:
        from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    except ImportError as error:
        raise NotInstalled("downloading needs huggingface-hub: pip install 'echat-eval[osum]'") from error
    filename = FILES.get(name, name)
    try:
        url = hf_hub_url(repository, filename, revision=revision, endpoint=endpoint)
        metadata = get_hf_file_metadata(url, endpoint=endpoint)
        path = Path(
            hf_hub_download(repository, filename, revision=revision, endpoint=endpoint, local_dir=folder)
        )
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise NotInstalled(f"{repository}/{filename} could not be downloaded: {reason}") from error
    declared = metadata.etag if metadata.etag and _SHA256.fullmatch(metadata.etag) else None
    actual = file_sha256(path)
    if declared is not None and declared != actual:
        path.unlink()
        raise BadData(f"{path}: the hub declares sha256 {declared}, the file has {actual}; download it again")
    record = {
        "repository": repository,
        "file": filename,
        "revision": revision,
        "commit": metadata.commit_hash,
        "sha256_declared_by_the_hub": declared,
        "sha256": actual,
        "size": path.stat().st_size,
    }
    note = path.with_name(path.name + ".source.json")
    write_atomically(note, json.dumps(record, indent=2, sort_keys=True) + "\n")
    return path
