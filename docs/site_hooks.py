"""What MkDocs asks of us when it builds the documentation site (`make docs`).

What MkDocs does not do by itself:

- pages that stand outside ``docs/`` (the changelog, the exporters' READMEs) become pages of the site;
- links between the pages lead to the right page of the site, as they lead to the right file in the repository;
- a list may follow a paragraph without an empty line, as in CommonMark;
- a site that would fetch anything from another host fails the build, since it must be readable without a network.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]

OUTSIDE = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "README.md": "overview.md",
    "LICENSE": "license.md",
    **{
        path.relative_to(ROOT).as_posix(): path.relative_to(ROOT).as_posix()
        for pattern in ("README.md", "*/README.md")
        for path in sorted((ROOT / "exporters").glob(pattern))
    },
}
"""Pages outside ``docs/``: where each stands in the repository, and where in the site."""
_IN_REPOSITORY = {page: file for file, page in OUTSIDE.items()}

_LINK = re.compile(r"(?<=\]\()([^)#\s:]+)(#[^)\s]*)?(?=\))")
_FETCHES = re.compile(
    r"""<(?:script|img|iframe|source)\b[^>]*\ssrc=["']?(?:https?:)?//[^"'\s>]+"""
    r"""|<link\b(?=[^>]*\brel=["']?(?:stylesheet|preload|preconnect|icon|dns-prefetch))[^>]*\shref=["']?(?:https?:)?//[^"'\s>]+"""
    r"""|url\(["']?(?:https?:)?//[^)]+|@import\s+["'](?:https?:)?//[^"']+"""
)
"""A browser that shows the page would ask another host for this."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that stand outside ``docs/``."""
    from mkdocs.structure.files import File

    for file, page in OUTSIDE.items():
        text = (ROOT / file).read_text("utf-8")
        content = text if file.endswith(".md") else f"# {file.capitalize()}\n\n```text\n{text}```\n"
        files.append(File.generated(config, page, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links between files of the repository into links between pages of the site."""
    here = page.file.src_uri

    def in_site(link: re.Match[str]) -> str:
        return relative_link(here, link.group(1)) + (link.group(2) or "")

    return with_lists_apart(_LINK.sub(in_site, markdown))


def with_lists_apart(markdown: str) -> str:
    """Put an empty line between a paragraph and the list behind it, which Python-Markdown asks for."""
    lines: list[str] = []
    in_code = False
    for line in markdown.splitlines():
        if line.startswith("```"):
            in_code = not in_code
        before = lines[-1] if lines else ""
        if line.startswith("- ") and not in_code and before and not before.startswith(("- ", " ")):
            lines.append("")
        lines.append(line)
    return "\n".join(lines)


def relative_link(page: str, target: str) -> str:
    """The link from a page of the site to what ``target`` means where the page's file stands in the repository."""
    file = _IN_REPOSITORY.get(page, f"docs/{page}")
    meant = posixpath.normpath(posixpath.join(posixpath.dirname(file), target))
    found = OUTSIDE.get(meant) or (meant.removeprefix("docs/") if meant.startswith("docs/") else None)
    # What is no page of the site stays as it is, and MkDocs complains about it.
    return target if found is None else posixpath.relpath(found, posixpath.dirname(page) or ".")


def fetched_by(text: str) -> list[str]:
    """Addresses of other hosts that a browser would ask while it shows a page or applies a style sheet."""
    return _FETCHES.findall(text)


def on_post_build(config: MkDocsConfig) -> None:
    """Fail where a page of the site needs another host.

    Raises:
        mkdocs.exceptions.PluginError: With each page and what it asks for.
    """
    from mkdocs.exceptions import PluginError

    site = Path(config.site_dir)
    files = sorted(path for kind in ("*.html", "*.css") for path in site.rglob(kind))
    found = [f"{path.relative_to(site)}: {what}" for path in files for what in fetched_by(path.read_text("utf-8"))]
    if found:
        raise PluginError("The site would fetch from other hosts:\n" + "\n".join(found))
