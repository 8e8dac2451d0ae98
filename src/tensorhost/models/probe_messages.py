"""What a server and the child process that tries a model say to each other: JSON, one message a line.

The child runs a stranger's model, so what comes from it is checked like anything from the network: types, sizes,
known names. Never pickle. What must stay true: nothing the child sends can make the server do more than read it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from tensorhost.core import errors
from tensorhost.core.dtypes import DType
from tensorhost.core.errors import InternalError, ModelFailedError, TensorhostError
from tensorhost.core.signatures import Signature
from tensorhost.core.tensors import TensorSpec
from tensorhost.models.race_messages import HeatMessage, Raced, RaceOrder
from tensorhost.runtimes import Contents, Finding, FindingKind, LoadOptions, Runtime
from tensorhost.runtimes.base import Precision, RuntimeName, Trust

MAX_LINE_BYTES = 4 * 2**20
"""Longest message. A model with a thousand inputs makes some hundred kilobytes."""

_MAX_TEXT = 4000
_MAX_LOG_DETAIL = 16_000
_MAX_DETAILS = 64 * 2**10
_MAX_NAMES = 10_000
_MOST_TOLD = 20
"""Findings of one model that are told before it is executed, for the log."""

_Text = Annotated[str, Field(max_length=_MAX_TEXT)]
_Bytes = Annotated[int, Field(ge=0, lt=2**62)]
_Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]

_FAILURES: Mapping[str, type[TensorhostError]] = {
    name: value
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, TensorhostError) and value is not TensorhostError
}


@dataclass(frozen=True, slots=True)
class FirstRuns:
    """What to feed each signature with in the child.

    Attributes:
        folder: the model's folder, for the examples it ships.
        examples: file of these examples in the folder; None to make inputs up.
        max_batch_rows: rows of the largest batch to come.
        batching: whether batches are to come at all.
        ranges: least and largest value of inputs that are made up, by name, where the model's settings say.
        records: whether recorded requests that the version ships are run.
    """

    folder: Path
    examples: str | None = None
    max_batch_rows: int = 1
    batching: bool = True
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    records: bool = False


@dataclass(frozen=True, slots=True)
class ProbeRequest:
    """One model to try. ``runs`` is None to load it only, ``race`` where it is not to be raced but only tried."""

    path: Path
    options: LoadOptions
    runs: FirstRuns | None
    race: RaceOrder | None = None

    def to_line(self) -> bytes:
        """The request as the child reads it."""
        return json.dumps(asdict(self), default=str).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        """The request that ``to_line`` wrote."""
        read: dict[str, Any] = json.loads(line)
        options: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in read["options"].items()
        }
        options["op_libraries"] = tuple(map(Path, options["op_libraries"]))
        options["trust"] = Trust(options["trust"])
        options["runtime"] = RuntimeName(options["runtime"])
        options["precision"] = Precision(options["precision"])
        runs, order = read["runs"], read["race"]
        if runs is not None:
            ranges = {name: (low, high) for name, (low, high) in runs["ranges"].items()}
            runs = FirstRuns(**(runs | {"folder": Path(runs["folder"]), "ranges": ranges}))
        race = None if order is None else RaceOrder.from_json(order)
        return cls(Path(read["path"]), LoadOptions(**options), runs, race)


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    def to_line(self) -> bytes:
        """The message as the server reads it."""
        return self.model_dump_json().encode() + b"\n"


class Stage(_Message):
    """What the child is about to do. ``inputs`` has the shapes fed when it runs a signature, ``entrant`` the label of
    the runtime that tries one in a race."""

    type: Literal["stage"] = "stage"
    doing: Literal["preparing", "examining", "loading", "running", "racing", "unloading"]
    baseline_bytes: _Bytes = 0
    """Resident memory of the child just before it loads."""
    peak_forgotten: bool = False
    """Whether the peak that the system knows of begins there."""
    signature: _Text = ""
    inputs: dict[_Text, tuple[_Bytes, ...]] = Field(default_factory=dict, max_length=_MAX_NAMES)
    entrant: _Text = ""

    def words(self) -> str:
        """When something went wrong, for the end of a sentence."""
        if self.doing == "running":
            fed = ", ".join(f"'{name}' {list(shape)}" for name, shape in list(self.inputs.items())[:8])
            return f"when signature '{self.signature[:128]}' first ran with {fed[:500] or 'no inputs'}"
        if self.doing == "racing":
            return f"when {self.entrant[:100]} tried signature '{self.signature[:128]}'"
        return _DOING[self.doing]


_DOING = {
    "preparing": "while its runtime was being started",
    "examining": "while its files were examined",
    "loading": "when it was loaded",
    "unloading": "when it was unloaded",
}


class _Finding(_Message):
    kind: FindingKind
    subject: _Text
    count: _Bytes
    explanation: _Text

    @classmethod
    def of(cls, found: Finding) -> Self:
        return cls(kind=found.kind, subject=found.subject, count=found.count, explanation=found.explanation)

    def finding(self) -> Finding:
        return Finding(self.kind, self.subject, self.count, self.explanation)


class Examined(_Message):
    """What the model could do besides computing: ``count`` findings, the worst of them in full."""

    type: Literal["examined"] = "examined"
    count: _Bytes
    worst: tuple[_Finding, ...] = Field(max_length=_MOST_TOLD)

    @classmethod
    def of(cls, findings: Sequence[Finding]) -> Self:
        """The message about ``findings``, the worst first."""
        return cls(count=len(findings), worst=tuple(map(_Finding.of, findings[:_MOST_TOLD])))


class _Spec(_Message):
    name: _Text
    dtype: DType
    shape: tuple[_Bytes | None, ...] | None

    @classmethod
    def of(cls, spec: TensorSpec) -> Self:
        return cls(name=spec.name, dtype=spec.dtype, shape=spec.shape)

    def spec(self) -> TensorSpec:
        return TensorSpec(self.name, self.dtype, self.shape)


class WireSignature(_Message):
    """One signature, and how it is called."""

    name: _Text
    method_name: _Text
    call_path: _Text
    inputs: dict[_Text, _Spec] = Field(max_length=_MAX_NAMES)
    outputs: dict[_Text, _Spec] = Field(max_length=_MAX_NAMES)

    @classmethod
    def of(cls, signature: Signature, call_path: str) -> Self:
        """The message about ``signature``."""
        return cls(
            name=signature.name,
            method_name=signature.method_name,
            call_path=call_path,
            inputs={name: _Spec.of(spec) for name, spec in signature.inputs.items()},
            outputs={name: _Spec.of(spec) for name, spec in signature.outputs.items()},
        )

    def signature(self) -> Signature:
        """The signature."""
        return Signature(
            self.name,
            {name: spec.spec() for name, spec in self.inputs.items()},
            {name: spec.spec() for name, spec in self.outputs.items()},
            self.method_name,
        )


class WireContents(_Message):
    """What a model is made of."""

    operations: dict[_Text, _Bytes] = Field(max_length=_MAX_NAMES)
    parameters: _Bytes | None
    findings: tuple[_Finding, ...] = Field(max_length=_MAX_NAMES)

    @classmethod
    def of(cls, contents: Contents) -> Self:
        """The message about ``contents``, cut to the sizes allowed."""
        return cls(
            operations=dict(islice(contents.operations.items(), _MAX_NAMES)),
            parameters=contents.parameters,
            findings=tuple(map(_Finding.of, contents.findings[:_MAX_NAMES])),
        )

    def contents(self) -> Contents:
        """The contents."""
        return Contents(self.operations, self.parameters, tuple(found.finding() for found in self.findings))


class Passed(_Message):
    """The model was loaded, run and let go. ``loaded_bytes`` is the child's resident memory after the runs."""

    type: Literal["passed"] = "passed"
    runtime: _Text
    weights_bytes: _Bytes
    loaded_bytes: _Bytes
    load_s: _Seconds
    run_s: _Seconds
    contents: WireContents
    signatures: tuple[WireSignature, ...] = Field(max_length=_MAX_NAMES)
    refused: dict[_Text, _Text] = Field(max_length=_MAX_NAMES)

    @classmethod
    def of(cls, runtime: Runtime, contents: Contents, *, loaded_bytes: int, load_s: float, run_s: float) -> Self:
        """The message for a model that is still loaded."""
        return cls(
            runtime=runtime.name,
            weights_bytes=runtime.weights_bytes,
            loaded_bytes=loaded_bytes,
            load_s=load_s,
            run_s=run_s,
            contents=WireContents.of(contents),
            signatures=tuple(
                WireSignature.of(each, runtime.call_path(name)) for name, each in runtime.signatures.items()
            ),
            refused={name: reason[:_MAX_TEXT] for name, reason in runtime.refused_signatures.items()},
        )


class Failed(_Message):
    """The model failed in an orderly way. ``kind`` names the class of the error."""

    type: Literal["failed"] = "failed"
    kind: _Text
    message: _Text
    details: Annotated[str, Field(max_length=_MAX_DETAILS)] = "{}"
    """JSON of the error's details, as text."""
    log_detail: Annotated[str, Field(max_length=_MAX_LOG_DETAIL)] | None = None

    @classmethod
    def of(cls, error: TensorhostError) -> Self:
        """The message for ``error``, cut to the sizes allowed."""
        details = json.dumps(dict(error.details), default=str)
        return cls(
            # A class that is not known here goes as the one it is made of.
            kind=next((each.__name__ for each in type(error).__mro__ if each.__name__ in _FAILURES), ""),
            message=error.message[:_MAX_TEXT],
            details=details if len(details) <= _MAX_DETAILS else "{}",
            log_detail=None if error.log_detail is None else error.log_detail[:_MAX_LOG_DETAIL],
        )

    def error(self) -> TensorhostError:
        """The same error again; a ModelFailedError where the class or the details are not known here."""
        try:
            details = json.loads(self.details)
        except (ValueError, RecursionError):
            details = {}
        failure = _FAILURES.get(self.kind, ModelFailedError)
        return failure(self.message, details=details if isinstance(details, dict) else {}, log_detail=self.log_detail)


Message = Stage | Examined | HeatMessage | Passed | Raced | Failed
_MESSAGE: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="type")])


def parse_message(line: bytes) -> Message:
    """One message of the child. Raises InternalError for anything else."""
    try:
        return _MESSAGE.validate_json(line)
    except ValidationError as error:
        raise InternalError("no message", log_detail=str(error)[:_MAX_TEXT]) from error
