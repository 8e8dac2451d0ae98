"""The site that ``make docs`` builds from the Markdown files of this repository, as Sphinx reads it.

The files stay what a code host shows: nothing in them is written for the site. Sphinx therefore reads from the root of
the checkout, so that links between ``docs`` and the files beside it hold as they are, and the navigation is what
``docs/index.md`` lists: each of its headings with links becomes a part of the sidebar.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from tensorhost.core.version import __version__

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[1]
INDEX = "docs/index"
_SECTION = re.compile(r"^## +(.+?) *$", re.MULTILINE)
_LINK = re.compile(r"^[-*] \[[^\]]+\]\(([^)#\s]+)\.md\)", re.MULTILINE)

project = "tensorhost"
author = "The tensorhost authors"
release = version = __version__
language = "en"

root_doc = INDEX
include_patterns = ["docs/**.md", "*.md", "src/tensorhost/demo/README.md"]
exclude_patterns = [".*", "build", "dist", "tests", "benchmarks", "node_modules", "README.md"]
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
suppress_warnings = ["misc.highlighting_failure"]  # excerpts of JSON have an ellipsis where something was left out

myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
napoleon_custom_sections = [("Keys", "params_style")]  # of a typed dict
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
python_display_short_literal_types = True
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = f"tensorhost {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_extra_path = ["entrance"]
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
html_theme_options = {"navigation_with_keys": True}
pygments_style = "friendly"
pygments_dark_style = "github-dark"


def navigation(index: str) -> dict[str, list[str]]:
    """Pages by part, as the headings and lists of ``index``, the text of ``docs/index.md``, have them.

    Pages are named relative to ``docs``, without suffix. Of a page in a folder below ``docs`` the folder comes whole.
    """
    pieces = _SECTION.split(index)
    parts: dict[str, list[str]] = {}
    for title, text in zip(pieces[1::2], pieces[2::2], strict=True):
        pages: list[str] = []
        for page in _LINK.findall(text):
            folder = (ROOT / "docs" / page).resolve().parent
            whole = folder.parent == ROOT / "docs"
            pages += [f"{folder.name}/{file.stem}" for file in sorted(folder.glob("*.md"))] if whole else [page]
        if pages:
            parts[title] = pages
    return parts


def _add_navigation(_app: Sphinx, name: str, source: list[str]) -> None:
    if name != INDEX:
        return
    for title, pages in navigation(source[0]).items():
        listed = "\n".join(pages)
        source[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {title}\n:maxdepth: 1\n\n{listed}\n```\n"


def setup(app: Sphinx) -> None:
    """What Sphinx calls once, before it reads."""
    app.connect("source-read", _add_navigation)
