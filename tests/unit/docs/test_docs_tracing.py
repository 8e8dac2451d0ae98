from __future__ import annotations

import re

from markdown_pages import PACKAGE, code_spans, read, section

PAGE = read("docs/tracing.md")
_SOURCES = ("server/tracing.py", "telemetry/spans.py", "batching/traced.py")
_ATTRIBUTE = r"(?:http|url|network|server|client|user_agent|error|tensorhost)\.[a-z_.]+"


def test_every_attribute_is_documented_and_no_other():
    sources = " ".join((PACKAGE / source).read_text(encoding="utf-8") for source in _SOURCES)
    emitted = set(re.findall(f'"({_ATTRIBUTE})"', sources)) - {"http.response.start"}
    table = section(PAGE, "Spans").partition("| attribute |")[2]
    documented = {span for span in code_spans(table) if re.fullmatch(_ATTRIBUTE, span)}
    assert documented == emitted


def test_numbers_in_the_page_are_those_of_the_code():
    traces = (PACKAGE / "telemetry" / "traces.py").read_text(encoding="utf-8")
    assert f"{int(re.findall(r'^MAX_RUNS = (.+)$', traces, re.MULTILINE)[0]):,} items" in PAGE
    export = (PACKAGE / "telemetry" / "span_export.py").read_text(encoding="utf-8")
    assert "_FLUSH_S = 3.0" in export
    assert "at most three seconds" in PAGE
