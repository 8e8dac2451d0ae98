from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest
from markdown_pages import PAGES, ROOT, anchors, links

_URL = re.compile(r"https?://[^\s)\"'`<>|]+")
_ABSOLUTE_PATH = re.compile(r"(?<![\w.\])}/:*…])/([A-Za-z][\w-]*)")
HOSTS = {"localhost", "127.0.0.1", "keepachangelog.com", "semver.org"}
"""Where documents may point: this machine, and the two conventions the changelog follows."""
SOURCES = {
    "docs.bentoml.com",
    "docs.nvidia.com",
    "docs.openvino.ai",
    "docs.ray.io",
    "docs.seldon.ai",
    "github.com",
    "mosecorg.github.io",
}
"""Where the comparison with other servers may point besides: what is said about them needs a source."""
PATHS = {
    *("predict", "batch-predict", "health", "models", "metrics", "load", "unload", "labels", "dashboard", "openapi"),
    *("docs", "nowhere", "srv", "cache", "tmp", "v1", "v2", "healthz", "readyz", "monitoring", "versions", "region"),
    *("dev", "ping", "invocations", "opt", "invoke"),
}
"""First segments of absolute paths: routes of the API, the place example models lie at, folders of a container."""
INSTALLED = {"apis", "etc", "ml", "opt", "spec", "target", "usr", "var"}
"""The same for the pages on ``deploy/``: where its files belong, mounts and patches of a pod, others' routes."""
DEPLOYMENT = {
    *("behind-a-proxy.md", "container.md", "kubernetes.md", "migrating-from-tensorflow-serving.md", "systemd.md")
}

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@pages
def test_links_resolve(page):
    for target in links(page.read_text(encoding="utf-8")):
        if urlsplit(target).scheme:
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.is_relative_to(ROOT), target
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file.read_text(encoding="utf-8")), target


@pages
def test_urls_name_no_host_that_may_go_away(page):
    hosts = {urlsplit(url).hostname for url in _URL.findall(page.read_text(encoding="utf-8"))}
    assert hosts <= HOSTS | (SOURCES if page.name == "comparison.md" else set())


@pages
def test_no_page_names_a_path_of_a_machine(page):
    text = _URL.sub("", page.read_text(encoding="utf-8"))
    allowed = PATHS | INSTALLED if page.name in DEPLOYMENT else PATHS
    assert set(_ABSOLUTE_PATH.findall(text)) <= allowed


@pages
def test_every_page_begins_with_its_title_and_closes_its_blocks(page):
    text = page.read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert text.count("\n```") % 2 == 0


def test_every_page_is_reachable_from_the_readme():
    seen = {ROOT / "README.md"}
    waiting = list(seen)
    while waiting:
        page = waiting.pop()
        for target in links(page.read_text(encoding="utf-8")):
            file = (page.parent / target.partition("#")[0]).resolve()
            if file.suffix == ".md" and file.exists() and file not in seen:
                seen.add(file)
                waiting.append(file)
    decisions = {page for page in PAGES if page.parent.name == "decisions"}
    assert set(PAGES) - seen - decisions == set()


def test_decisions_are_numbered_once_and_have_the_three_parts():
    records = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    numbers = [record.name[:4] for record in records]
    assert numbers == [f"{number:04d}" for number in range(1, len(records) + 1)]
    for record in records:
        text = record.read_text(encoding="utf-8")
        assert text.startswith(f"# {int(record.name[:4])}. "), record.name
        for part in ("## Context", "## Decision", "## Consequences"):
            assert part in text, (record.name, part)
