"""Recorded requests that a version ships in TensorFlow Serving's warm-up file, run before it serves.

The file is read as hostile as any request, one record at a time. Only the requests count; which model and version they
name does not. A record that cannot be read, or that the model refuses, fails the load: whoever ships records wants to
know when they no longer fit.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tensorhost.codecs.examples import input_examples
from tensorhost.codecs.protobuf import decode
from tensorhost.codecs.tensor_proto import decode_tensor
from tensorhost.codecs.tfrecords import BrokenRecordError, read_records
from tensorhost.core.errors import MisconfiguredModelError, ModelFailedError, OutOfMemoryError, TensorhostError
from tensorhost.core.signatures import DEFAULT_SIGNATURE, Signature
from tensorhost.core.tensors import Array, Tensors
from tensorhost.runtimes.base import Runtime

FILE = Path("assets.extra") / "tf_serving_warmup_requests"
"""Where the records lie in a version's folder."""

MOST_RECORDS = 1000
_MOST_RECORD_BYTES = 2**31 - 1
_MOST_ELEMENTS = 2**27
_KEPT_EXAMPLES = 8
_KEPT_BYTES = 2**24
_METHODS = {"classify_log": ("Classify", "ClassificationRequest"), "regress_log": ("Regress", "RegressionRequest")}


@dataclass(frozen=True, slots=True)
class WarmupRecord:
    """One call that a record asks for.

    Attributes:
        index: of the record in the file, from 0.
        method: ``Predict``, ``Classify``, ``Regress`` or ``MultiInference``.
        signature: as the record names it; empty for the default one.
        inputs: of a Predict, by name.
        examples: of the other methods, serialized ``tf.Example`` messages of shape [N]; None for a Predict.
    """

    index: int
    method: str
    signature: str
    inputs: Tensors
    examples: Array | None = None


@dataclass(slots=True)
class RecordsRun:
    """What running the records came to.

    Attributes:
        records: how many were read.
        seconds: how long they took.
        examples: inputs of the first ones that are rows of a batch, by signature: better than made-up ones.
    """

    records: int = 0
    seconds: float = 0.0
    examples: dict[str, list[Tensors]] = field(default_factory=dict)


def read_warmup_records(folder: Path) -> Iterator[WarmupRecord]:
    """The calls of the records in a version's folder, in order; none where there is no file.

    Raises:
        MisconfiguredModelError: the file is no TFRecord file or damaged, or a record is no PredictionLog, of a kind
            that cannot be run, or one too many.
        ModelFailedError: the disk does not give the file.
    """
    file = folder / FILE
    if not file.is_file():
        return
    try:
        with file.open("rb") as stream:
            for index, record in enumerate(read_records(stream, max_record_bytes=_MOST_RECORD_BYTES)):
                if index == MOST_RECORDS:
                    raise MisconfiguredModelError(f"Number of warmup records exceeds the maximum ({MOST_RECORDS}).")
                yield from _calls(index, record)
    except BrokenRecordError as error:
        raise MisconfiguredModelError(
            f"Failed to read warmup data: {error}. Please verify your warmup data is in TFRecord format."
        ) from error
    except OSError as error:
        raise ModelFailedError("The warm-up records cannot be read.", log_detail=str(error)) from error


def run_warmup_records(
    folder: Path, runtime: Runtime, defaults: Mapping[str, Tensors], *, iterations: int
) -> RecordsRun:
    """Run every record ``iterations`` times.

    Args:
        folder: the version's.
        runtime: the loaded version.
        defaults: of inputs that a record leaves out, by signature and name.
        iterations: at least 1.

    Raises:
        MisconfiguredModelError: as ``read_warmup_records``, or a record does not fit the model.
        ModelFailedError: the model refuses a record. The message has its index.
        OutOfMemoryError: a record does not fit in memory.
    """
    run = RecordsRun()
    started = time.perf_counter()
    kept_bytes = 0
    for record in read_warmup_records(folder):
        run.records = record.index + 1
        try:
            signature = _signature(runtime, record)
            inputs = _inputs(signature, record, defaults.get(signature.name, {}))
        except TensorhostError as error:
            raise MisconfiguredModelError(_failed(record, error)) from error
        try:
            _call(runtime, signature, inputs, iterations)
        except OutOfMemoryError:
            raise
        except TensorhostError as error:
            # Another runtime, or another attempt, may do better.
            raise ModelFailedError(_failed(record, error), log_detail=error.log_detail) from error
        kept = run.examples.setdefault(signature.name, [])
        size_bytes = sum(array.nbytes for array in inputs.values())
        if len(kept) < _KEPT_EXAMPLES and kept_bytes + size_bytes <= _KEPT_BYTES and _is_rows(signature, inputs):
            kept.append(inputs)
            kept_bytes += size_bytes
    run.examples = {name: kept for name, kept in run.examples.items() if kept}
    run.seconds = time.perf_counter() - started
    return run


def _failed(record: WarmupRecord, error: TensorhostError) -> str:
    return f"Warm-up record {record.index} ({record.method}) failed: {error.message}"


def _calls(index: int, record: bytes) -> Iterator[WarmupRecord]:
    try:
        log = decode("tensorhost.wire.PredictionLog", record)
        kind = log.WhichOneof("log_type")
        match kind:
            case None:
                return
            case "predict_log":
                yield _predict(index, log.predict_log.request)
            case "classify_log" | "regress_log":
                method, called = _METHODS[kind]
                request = decode("tensorhost.wire.ExamplesRequest", getattr(log, kind).request, called)
                yield _on_examples(index, method, request.model_spec, request.input)
            case "multi_inference_log":
                request = decode("tensorhost.wire.MultiInferenceRequest", log.multi_inference_log.request)
                for task in request.tasks:
                    yield _on_examples(index, "MultiInference", task.model_spec, request.input)
            case _:
                raise MisconfiguredModelError(f"a {kind} cannot be run")
    except TensorhostError as error:
        raise MisconfiguredModelError(
            f"Warm-up record {index} cannot be read: {error.message}", details={"record": index, **error.details}
        ) from error


def _predict(index: int, data: bytes) -> WarmupRecord:
    request = decode("tensorhost.wire.PredictRequest", data)
    inputs = {name: decode_tensor(tensor, name, max_elements=_MOST_ELEMENTS) for name, tensor in request.inputs.items()}
    return WarmupRecord(index, "Predict", request.model_spec.signature_name, inputs)


def _on_examples(index: int, method: str, model_spec: Any, received: Any) -> WarmupRecord:
    listed = input_examples(received)
    if not listed:
        raise MisconfiguredModelError("Input is empty.")
    examples = np.empty(len(listed), object)
    examples[:] = listed
    return WarmupRecord(index, method, model_spec.signature_name, {}, examples)


def _signature(runtime: Runtime, record: WarmupRecord) -> Signature:
    name = record.signature
    if not name:
        name = DEFAULT_SIGNATURE if DEFAULT_SIGNATURE in runtime.signatures else next(iter(runtime.signatures), "")
    if name in runtime.signatures:
        return runtime.signatures[name]
    reason = runtime.refused_signatures.get(name)
    raise ModelFailedError(f"signature '{name[:128]}' is not there" + (f": {reason}" if reason else "."))


def _inputs(signature: Signature, record: WarmupRecord, defaults: Tensors) -> Tensors:
    if record.examples is not None:
        if len(signature.inputs) != 1:
            raise ModelFailedError(f"signature '{signature.name}' does not have examples as its one input.")
        given: Tensors = {next(iter(signature.inputs)): record.examples}
    else:
        given = {**defaults, **record.inputs}
    signature.check_names(given)
    for name, spec in signature.inputs.items():
        spec.check_dtype(given[name])
    return given


def _call(runtime: Runtime, signature: Signature, inputs: Tensors, iterations: int) -> None:
    fits = all(spec.admits(inputs[name].shape) for name, spec in signature.inputs.items())
    run = runtime.run if fits else runtime.run_loosely
    for _ in range(iterations):
        run(signature.name, inputs)


def _is_rows(signature: Signature, inputs: Tensors) -> bool:
    """Whether the inputs may stand for others in a batch: of admitted shapes, all with the same number of rows."""
    if not all(spec.admits(inputs[name].shape) for name, spec in signature.inputs.items()):
        return False
    rows = {len(inputs[name]) for name, spec in signature.inputs.items() if spec.is_batchable}
    return len(rows) == 1 and 0 not in rows
