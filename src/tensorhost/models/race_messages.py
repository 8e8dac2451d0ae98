"""What a server and its child process say to each other about a race between runtimes; see ``probe_messages``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tensorhost.runtimes.base import Precision, RuntimeName
from tensorhost.runtimes.engine_files import EngineFile
from tensorhost.runtimes.race.verdict import Entrant, Heat

_MAX_NAMES = 10_000
_MOST_SIZES = 64

_Text = Annotated[str, Field(max_length=4000)]
_Count = Annotated[int, Field(ge=0, lt=2**62)]
_Number = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_FileName = Annotated[str, Field(pattern=r"^[a-z0-9-]+\.(xml|tflite|onnx)$", max_length=100)]


@dataclass(frozen=True, slots=True)
class RaceOrder:
    """How to race.

    Attributes:
        folder: where what is written for other runtimes goes.
        begin_s: no heat begins later than this after the model was loaded.
        skip: heats that are not to be run: signature and label of the entrant.
    """

    folder: Path
    begin_s: float
    skip: tuple[tuple[str, str], ...] = ()

    @classmethod
    def from_json(cls, read: dict[str, Any]) -> Self:
        """The order that was written with ``dataclasses.asdict``."""
        skip = tuple((str(signature), str(label)) for signature, label in read["skip"])
        return cls(Path(read["folder"]), float(read["begin_s"]), skip)


class _Engine(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    file: _FileName
    inputs: dict[_Text, _Text] = Field(max_length=_MAX_NAMES)
    outputs: dict[_Text, _Text] = Field(max_length=_MAX_NAMES)


class HeatMessage(BaseModel):
    """One entrant has tried one signature. What it says is kept on disk, too."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    type: Literal["heat"] = "heat"
    signature: _Text
    runtime: RuntimeName
    precision: Precision
    engine: _Engine | None
    call_s: tuple[tuple[_Count, _Seconds, _Seconds], ...] = Field(max_length=_MOST_SIZES)
    difference: _Number
    scale: _Number
    calls: _Count
    refused: _Text
    transient: bool

    @model_validator(mode="after")
    def _may_serve_or_not(self) -> Self:
        if not self.refused and not (self.engine and self.call_s):
            raise ValueError("who is not refused must have an engine and times")
        return self

    @classmethod
    def of(cls, heat: Heat) -> Self:
        """The message about ``heat``."""
        engine = heat.engine
        return cls(
            signature=heat.signature,
            runtime=heat.entrant.runtime,
            precision=heat.entrant.precision,
            engine=None
            if engine is None
            else _Engine(file=engine.file, inputs=dict(engine.inputs), outputs=dict(engine.outputs)),
            call_s=tuple((rows, own_s, seconds) for rows, (own_s, seconds) in heat.call_s.items()),
            difference=heat.difference,
            scale=heat.scale,
            calls=heat.calls,
            refused=heat.refused[:4000],
            transient=heat.transient,
        )

    def heat(self) -> Heat:
        """The heat."""
        engine = self.engine
        return Heat(
            signature=self.signature,
            entrant=Entrant(self.runtime, self.precision),
            engine=None if engine is None else EngineFile(engine.file, engine.inputs, engine.outputs),
            call_s={rows: (own_s, seconds) for rows, own_s, seconds in self.call_s},
            difference=self.difference,
            scale=self.scale,
            calls=self.calls,
            refused=self.refused,
            transient=self.transient,
        )

    def to_line(self) -> bytes:
        """The message as the server reads it."""
        return self.model_dump_json().encode() + b"\n"


class Raced(BaseModel):
    """Every heat that was ordered has been told of."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    type: Literal["raced"] = "raced"

    def to_line(self) -> bytes:
        """The message as the server reads it."""
        return self.model_dump_json().encode() + b"\n"
