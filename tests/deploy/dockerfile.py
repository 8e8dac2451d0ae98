"""What of a Dockerfile and a .dockerignore the tests need to read."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Stage:
    """One stage: its name, and its instructions with their arguments, continued lines joined."""

    name: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def all(self, keyword: str) -> list[str]:
        return [argument for found, argument in self.instructions if found == keyword]

    def last(self, keyword: str) -> str:
        return self.all(keyword)[-1]

    @property
    def environment(self) -> dict[str, str]:
        return dict(pair.split("=", 1) for argument in self.all("ENV") for pair in argument.split())


def stages() -> list[Stage]:
    """The stages of the Dockerfile. What comes before the first belongs to one without a name."""
    found = [Stage("")]
    lines = [line for line in (ROOT / "Dockerfile").read_text("utf-8").splitlines() if not line.startswith("#")]
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        keyword, _, argument = line.partition(" ")
        if keyword == "FROM":
            found.append(Stage(argument.partition(" AS ")[2] or "final"))
        if keyword:
            found[-1].instructions.append((keyword, argument))
    return found


def exec_form(argument: str) -> list[str]:
    """The words of an instruction that must not be given to a shell. Raises ValueError where it would be."""
    words = json.loads(argument)
    assert isinstance(words, list)
    return words


def is_ignored(path: str) -> bool:
    """Whether .dockerignore keeps ``path``, relative to the root, out of a build: the last line that fits decides."""
    ignored = False
    for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        if _fits(line.removeprefix("!"), path):
            ignored = not line.startswith("!")
    return ignored


def _fits(pattern: str, path: str) -> bool:
    """Whether the path, or a folder it is in, is meant."""
    parts = re.split(r"(\*\*/|\*|\[[^]]*\])", pattern)
    meaning = {"**/": r"(?:.*/)?", "*": r"[^/]*"}
    expression = "".join(meaning.get(part, part if part.startswith("[") else re.escape(part)) for part in parts)
    return re.fullmatch(f"{expression}(/.*)?", path) is not None
