"""Packages that are not installed, by the names under which they can be installed."""

from __future__ import annotations

from importlib.util import find_spec

from echat_eval.errors import NotInstalled

__all__ = ["package_of", "require_package"]

#: Module -> its package, where the two names differ by more than a hyphen.
_PACKAGES = {"faster_whisper": "faster-whisper", "sklearn": "scikit-learn", "yaml": "pyyaml"}


def package_of(error: ImportError) -> str:
    """Return the package to install after a failed import: "scipy" where "scipy.special" is missing.

    Where the package itself is there, the module that it lacks is named.
    """
    name = error.name or str(error)
    top = name.partition(".")[0]
    return name if top != name and _is_installed(top) else _PACKAGES.get(top, top)


def require_package(name: str, purpose: str, *, otherwise: str = "") -> None:
    """Raise NotInstalled unless a package can be imported; it is not imported.

    Args:
        name: of the package and of its module.
        purpose: what needs it, as in "figures need".
        otherwise: what to do without it.
    """
    if not _is_installed(name):
        raise NotInstalled(f"{purpose} {name}, which is not installed; pip install {name}{otherwise}")


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ValueError:  # a module without a specification, such as __main__
        return True
