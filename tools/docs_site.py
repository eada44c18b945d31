"""Hooks of the documentation site: links to files outside it, names of files, defaults of options."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

_FILE = re.compile(r"<!-- file: (\S+) -->\n```(\w+)")
_LINK = re.compile(r"\[([^\]]*)\]\(((?:\.\./)+[^)\s#]+)(?:#[^)]*)?\)")


def on_page_markdown(text: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Return a page whose links out of docs/ name the file instead, and whose files have their name as title.

    mkdocs calls this for every page.
    """
    root = Path(config.docs_dir).parent

    def named(link: re.Match[str]) -> str:
        path = (Path(config.docs_dir) / PurePosixPath(page.file.src_uri).parent / link[2]).resolve()
        if path.is_relative_to(config.docs_dir) or not path.exists():
            return link[0]
        name = path.relative_to(root)
        shown = link[1].strip("`")
        return f"`{name}`" if shown in (str(name), name.name) else f"{link[1]} (`{name}` in the repository)"

    return _LINK.sub(named, _FILE.sub(r'```\2 title="\1"', text))


def on_page_content(html: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Return a page without the mark that click has for an option without a default."""
    return html.replace("<code>Sentinel.UNSET</code>", "")
