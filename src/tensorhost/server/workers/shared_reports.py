"""What one worker's trial of a model has shown, for the others: text that is checked where it is read.

A report says what the model is and needs; a failure says why it cannot be had. What must stay true: a failure that no
further attempt mends is one for every worker.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from tensorhost.core.errors import TensorhostError
from tensorhost.models.probe import ProbeReport
from tensorhost.models.probe_messages import Failed, Passed
from tensorhost.models.probe_trial import ModelCrashedError, ModelTooLargeError

_OF_THE_TRIAL = {kind.__name__: kind for kind in (ModelCrashedError, ModelTooLargeError)}


class _Report(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["report"] = "report"
    passed: Passed
    memory_bytes: int = Field(ge=0)
    peak_bytes: int = Field(ge=0)
    crash: str

    @classmethod
    def of(cls, report: ProbeReport) -> Self:
        passed = Passed.about(
            runtime=report.runtime,
            weights_bytes=report.weights_bytes,
            loaded_bytes=report.memory_bytes,
            load_s=report.load_s,
            run_s=report.run_s,
            contents=report.contents,
            signatures=report.signatures,
            call_paths=report.call_paths,
            refused=report.refused_signatures,
        )
        return cls(
            passed=passed,
            memory_bytes=report.memory_bytes,
            peak_bytes=report.peak_bytes,
            crash=report.crash,
        )

    def report(self) -> ProbeReport:
        signatures = [each.signature() for each in self.passed.signatures]
        return ProbeReport(
            contents=self.passed.contents.contents(),
            runtime=self.passed.runtime,
            weights_bytes=self.passed.weights_bytes,
            signatures={signature.name: signature for signature in signatures},
            call_paths={each.name: each.call_path for each in self.passed.signatures},
            refused_signatures=self.passed.refused,
            memory_bytes=self.memory_bytes,
            peak_bytes=self.peak_bytes,
            load_s=self.passed.load_s,
            run_s=self.passed.run_s,
            crash=self.crash,
        )


_Shared = Annotated[_Report | Failed, Field(discriminator="type")]
_SHARED: TypeAdapter[_Report | Failed] = TypeAdapter(_Shared)


def write_report(report: ProbeReport) -> str:
    """The text about a model that passed."""
    return _Report.of(report).model_dump_json()


def write_failure(error: TensorhostError) -> str:
    """The text about a model that failed."""
    return Failed.of(error).model_dump_json()


def read_result(text: str) -> ProbeReport:
    """The report in ``text``; it cost whoever reads it no time of its own.

    Raises:
        TensorhostError: the failure in it.
        ValidationError: it is something else.
    """
    result = _SHARED.validate_json(text)
    if isinstance(result, _Report):
        return result.report()
    kind = _OF_THE_TRIAL.get(result.kind)
    error = result.error()
    raise error if kind is None else kind(error.message, details=error.details, log_detail=error.log_detail)
