"""What is in a model, told from its files before anything of it is executed: for people, and for deciding on trust.

Names in here are the file's own words, so they are foreign text: printable, cut short, never a path of this machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

LONGEST_NAME = 100
"""Characters of a model's own words that are shown."""

MAX_PARAMETERS = 2**62
"""A file that states more numbers than this states none."""


class FindingKind(StrEnum):
    """What a part of a model could do besides computing, worst first."""

    RUNS_PYTHON = "runs_python"
    UNKNOWN_CODE = "unknown_code"
    WRITES_FILES = "writes_files"
    USES_NETWORK = "uses_network"
    READS_FILES = "reads_files"
    ENDS_PROCESS = "ends_process"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to know before trusting a model.

    Attributes:
        kind: what it could do.
        subject: the operation, class, function or module, as the file names it.
        count: how many times it is there.
        explanation: one sentence for the operator.
    """

    kind: FindingKind
    subject: str
    count: int
    explanation: str

    def to_json(self) -> dict[str, Any]:
        """``kind``, ``subject``, ``count`` and ``explanation``, JSON-ready."""
        return {
            "kind": self.kind.value,
            "subject": self.subject,
            "count": self.count,
            "explanation": self.explanation,
        }


@dataclass(frozen=True, slots=True)
class Contents:
    """What a model is made of.

    Attributes:
        operations: operations (of a graph) or layer classes (of a Keras model), with how many there are of each.
        parameters: numbers in its weights; None where the files do not tell.
        findings: what it could do besides computing, worst first.
    """

    operations: Mapping[str, int] = field(default_factory=dict)
    parameters: int | None = None
    findings: tuple[Finding, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """``operations``, ``parameters`` and ``findings``, JSON-ready."""
        return {
            "operations": dict(self.operations),
            "parameters": self.parameters,
            "findings": [finding.to_json() for finding in self.findings],
        }


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """``findings`` in the order of ``FindingKind``, then by subject."""
    ranks = list(FindingKind)
    return tuple(sorted(findings, key=lambda finding: (ranks.index(finding.kind), finding.subject)))


def most_frequent_first(counts: Mapping[str, int]) -> dict[str, int]:
    """``counts`` in falling order, equal ones by name."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def shown(name: str) -> str:
    """A model's own word as it may be shown: no control characters, at most ``LONGEST_NAME`` characters."""
    text = "".join(character if character.isprintable() else "?" for character in name[: LONGEST_NAME + 1])
    return text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 1]}…"
