"""What is in a model, told from its files before anything of it is executed: for people, and for deciding on trust."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class FindingKind(StrEnum):
    """What a part of a model could do besides computing."""

    READS_FILES = "reads_files"
    WRITES_FILES = "writes_files"
    USES_NETWORK = "uses_network"
    RUNS_PYTHON = "runs_python"
    UNKNOWN_CODE = "unknown_code"


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
