"""The examples in the documentation: finding them, running one command of them, comparing answers.

Only what the pages need of a shell and of curl is understood; anything else is an error, so that an example is
either run as it stands or marked ``no-run``.
"""

from __future__ import annotations

import json
import math
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parents[2]
WRITTEN_URL = "http://localhost:3000"
WALKED = frozenset({"docs/tutorial.md"})
"""Pages whose blocks build on each other; they are walked through as a whole, elsewhere."""
_FENCE = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_VARIES = frozenset(
    {
        "requestId",
        "loadedAt",
        "lastUsedAt",
        "memoryBytes",
        "peakMemoryBytes",
        "inlineRows",
        "inlineRowsNow",
        "filledUpTo",
        "callPath",
        "queueRows",
        "uptime",
    }
)
_TOLERANCE = 0.02


@dataclass(frozen=True)
class Block:
    """A fenced block: where it begins, its language, what stands behind that, and its lines."""

    place: str
    language: str
    marks: list[str]
    code: str


@dataclass(frozen=True)
class Example:
    """A block that is run, and the block of its answer, if one follows."""

    place: str
    language: str
    code: str
    answer: str | None
    excerpt: bool


def blocks(page: Path) -> list[Block]:
    """Every fenced block of a page that names its language, in order."""
    text = page.read_text(encoding="utf-8")
    name = page.relative_to(ROOT)
    return [
        Block(f"{name}:{text.count(chr(10), 0, fence.start()) + 1}", fence[1], fence[2].split(), fence[3])
        for fence in _FENCE.finditer(text)
    ]


def examples() -> list[Example]:
    """Every ``bash`` and ``python`` block that is not marked ``no-run``, of the pages that are not walked through."""
    found: list[Example] = []
    for page in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]):
        if str(page.relative_to(ROOT)) in WALKED:
            continue
        there = blocks(page)
        for block, following in zip_longest(there, there[1:]):
            if block.language not in ("bash", "python") or "no-run" in block.marks:
                continue
            answers = following is not None and following.language == {"bash": "json", "python": "text"}[block.language]
            if not answers or "no-run" in following.marks:
                following = None
            found.append(
                Example(
                    block.place,
                    block.language,
                    block.code,
                    None if following is None else following.code,
                    following is not None and "excerpt" in following.marks,
                )
            )
    return found


def commands(code: str) -> list[list[str]]:
    """The commands of a ``bash`` block, each as its arguments."""
    found: list[list[str]] = []
    pending = ""
    for line in code.replace("\\\n", " ").splitlines():
        pending += line + "\n"
        try:
            arguments = shlex.split(pending, comments=True)
        except ValueError:
            continue  # a quote is still open
        pending = ""
        if arguments:
            found.append(arguments)
    assert not pending, f"a quote is not closed: {pending}"
    return found


def run_command(arguments: list[str], url: str) -> Any:
    """Run one command against the server at ``url``; what is answered, None where that is no JSON."""
    program, *rest = arguments
    if program == "curl":
        return _curl(rest, url)
    assert program == "tensorhost", f"{program} is not run here; mark the block no-run"
    ended = subprocess.run(
        [str(Path(sys.executable).parent / "tensorhost"), *rest],
        env=os.environ | {"PORT": url.rpartition(":")[2]},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return json.loads(ended.stdout) if "--json" in rest else None


def _curl(arguments: list[str], url: str) -> Any:
    method, body, address = None, None, ""
    headers: dict[str, str] = {}
    left = iter(arguments)
    for argument in left:
        if argument == "-s":
            continue
        if argument == "-X":
            method = next(left)
        elif argument == "-d":
            body = next(left)
        elif argument == "-H":
            name, _, value = next(left).partition(":")
            headers[name] = value.strip()
        else:
            assert argument.startswith(WRITTEN_URL), f"curl {argument} is not understood here"
            address = url + argument.removeprefix(WRITTEN_URL)
    if body is not None:
        headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
    method = method or ("GET" if body is None else "POST")
    return httpx.request(method, address, content=body, headers=headers, timeout=60, trust_env=False).json()


def difference(written: Any, actual: Any, *, excerpt: bool, at: str = "answer") -> str | None:
    """Where an answer is not what the page says; None where it is.

    Numbers may differ by two hundredths. Times, ids and sizes, which differ from run to run, are compared by kind.
    """
    if isinstance(written, dict):
        return _object_difference(written, actual, excerpt=excerpt, at=at)
    if isinstance(written, list):
        if not isinstance(actual, list) or len(written) != len(actual):
            return f"{at}: {json.dumps(actual)}"
        pairs = enumerate(zip(written, actual, strict=True))
        found = (difference(one, other, excerpt=excerpt, at=f"{at}[{index}]") for index, (one, other) in pairs)
        return next((fault for fault in found if fault), None)
    if _is_number(written) and _is_number(actual):
        same = math.isclose(written, actual, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
    else:
        same = type(written) is type(actual) and written == actual
    return None if same else f"{at}: {json.dumps(actual)}, not {json.dumps(written)}"


def _object_difference(written: dict[str, Any], actual: Any, *, excerpt: bool, at: str) -> str | None:
    if not isinstance(actual, dict):
        return f"{at}: {json.dumps(actual)}"
    missing, extra = written.keys() - actual.keys(), actual.keys() - written.keys()
    if missing or (extra and not excerpt):
        return f"{at}: missing {sorted(missing)}, not mentioned {sorted(extra)}"
    for key, value in written.items():
        place = f"{at}.{key}"
        if key in _VARIES or key.endswith("Ms"):
            kinds = (int, float) if _is_number(value) else type(value)
            if not isinstance(actual[key], kinds):
                return f"{place}: {json.dumps(actual[key])}"
            continue
        fault = difference(value, actual[key], excerpt=excerpt, at=place)
        if fault:
            return fault
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
