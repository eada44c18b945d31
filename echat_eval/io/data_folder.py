"""Locations of the shipped data folders: `_data` in an installed wheel, the root of a checkout."""

from __future__ import annotations

from pathlib import Path

from echat_eval.errors import BadData

__all__ = ["data_folder"]


def data_folder(name: str) -> Path:
    """Return the shipped folder `tasks`, `judges`, `baselines` or `reports`.

    Raises:
        BadData: neither `_data` of an installed wheel nor a checkout was found.
    """
    package = Path(__file__).resolve().parents[1]
    packaged = package / "_data"
    if packaged.is_dir():
        return packaged / name
    checkout = package.parent
    # Without this check, a wheel built without its data would read site-packages/tasks, which may belong
    # to another distribution.
    if (checkout / "pyproject.toml").is_file():
        return checkout / name
    raise BadData(f"no data at {packaged} and no checkout at {checkout}; reinstall echat-eval")
