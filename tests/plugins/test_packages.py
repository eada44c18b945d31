"""The name of a package that is not installed, and its demand before anything is written."""

from __future__ import annotations

import sys

import pytest

from echat_eval.errors import NotInstalled
from echat_eval.plugins.packages import package_of, require_package


@pytest.mark.parametrize(
    ("module", "package"),
    [
        ("no_such_package.special", "no_such_package"),
        ("faster_whisper", "faster-whisper"),
        ("yaml.no_such_module", "yaml.no_such_module"),  # the package is there
        ("whisper", "whisper"),
    ],
)
def test_a_missing_package_has_the_name_to_install(
    monkeypatch: pytest.MonkeyPatch, module: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    assert package_of(ModuleNotFoundError(f"No module named '{module}'", name=module)) == package


def test_a_required_package_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    require_package("yaml", "settings need")
    monkeypatch.setitem(sys.modules, "scipy", None)
    line = "ranks need scipy, which is not installed; pip install scipy, or wait"
    with pytest.raises(NotInstalled, match=line):
        require_package("scipy", "ranks need", otherwise=", or wait")
