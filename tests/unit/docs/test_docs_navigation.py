from __future__ import annotations

import importlib.util
from collections import Counter

import pytest
from markdown_pages import ROOT, read

DOCS = ROOT / "docs"
OUTSIDE = {"README.md"}
"""Pages that are for the code host alone; the site begins with docs/index.md instead."""


@pytest.fixture(scope="module")
def site():
    spec = importlib.util.spec_from_file_location("site_configuration", DOCS / "conf.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def listed(site):
    parts = site.navigation(read("docs/index.md"))
    return [(DOCS / f"{page}.md").resolve() for pages in parts.values() for page in pages]


def test_every_page_is_in_the_navigation_once(listed):
    pages = set(DOCS.rglob("*.md")) | {page for page in ROOT.glob("*.md") if page.name not in OUTSIDE}
    missing = {str(page.relative_to(ROOT)) for page in pages - set(listed) - {DOCS / "index.md"}}
    assert missing == set(), "list them in docs/index.md"
    assert [str(page) for page, times in Counter(listed).items() if times > 1] == []


def test_every_page_of_the_navigation_exists(listed):
    assert [str(page) for page in listed if not page.is_file()] == []


def test_the_parts_are_those_of_the_index_in_its_order(site):
    parts = site.navigation(
        "# Title\n\n- [no](no.md)\n\n## One\n\n- [a](a.md): x\n- [b](../B.md)\n\n## Two\n\nNothing.\n"
    )
    assert parts == {"One": ["a", "../B"]}


def test_a_page_in_a_folder_brings_the_folder(site):
    parts = site.navigation("## Decisions\n\n- [all](decisions/0001-record-decisions.md)\n")
    assert parts["Decisions"][0] == "decisions/0001-record-decisions"
    assert len(parts["Decisions"]) == len(list((DOCS / "decisions").glob("*.md")))
