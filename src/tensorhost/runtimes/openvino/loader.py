"""Loading what OpenVINO reads: its own files, made from a model beforehand, and SavedModels and .tflite files as they
are, where the format's own runtime is not installed.

What must stay true: TensorFlow and LiteRT are never imported here; a model read as it is has been compared with
nothing, and says so in its call path.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tensorhost.core.dtypes import DType
from tensorhost.core.errors import ModelFailedError, UnsupportedModelError
from tensorhost.core.signatures import DEFAULT_SIGNATURE, Signature
from tensorhost.runtimes.base import SERVE_TAG, CalledModel, LoadOptions, Precision, Runtime, RuntimeName
from tensorhost.runtimes.cores import described_threads
from tensorhost.runtimes.engine_files import EngineFile, EngineSignature
from tensorhost.runtimes.openvino.process import (
    OPENVINO_ERRORS,
    compile_model,
    core,
    load_error,
    openvino,
    supports_bf16,
)
from tensorhost.runtimes.openvino.runtime import WIDE, CompiledCall
from tensorhost.runtimes.openvino.saved_model_file import read_signatures, refuse_unlike

CARRIED = frozenset(
    {
        DType.BOOL,
        DType.INT8,
        DType.INT16,
        DType.INT32,
        DType.INT64,
        DType.UINT8,
        DType.UINT16,
        DType.UINT32,
        DType.UINT64,
        DType.FLOAT16,
        DType.FLOAT32,
        DType.FLOAT64,
    }
)
"""Element types that numpy arrays and OpenVINO's tensors have in common."""

CACHE_FOLDER = "openvino"
"""Beside a model's engine files: what OpenVINO compiled from them on this machine."""


def write_from_graph(graph: Path, names: EngineFile, folder: Path, file: str) -> EngineFile:
    """Write the frozen graph in the file ``graph`` in OpenVINO's own form, in full precision.

    Args:
        graph: a GraphDef.
        names: its tensors, by the names of the signature.
        folder, file: where to.

    Raises UnsupportedModelError where OpenVINO has no such operation, or drops an input.
    """
    try:
        model = core().read_model(graph)
        inputs = {name: port_name(model.inputs, tensor) for name, tensor in names.inputs.items()}
        outputs = {name: port_name(model.outputs, tensor) for name, tensor in names.outputs.items()}
        openvino().save_model(model, folder / file, compress_to_fp16=False)
    except OPENVINO_ERRORS as error:
        raise UnsupportedModelError(load_error(error).message, log_detail=str(error)) from error
    return EngineFile(file, inputs, outputs)


def load_engine(
    engine: EngineSignature, weights_bytes: int, options: LoadOptions, precision: Precision, *, keep_compiled: bool
) -> Runtime:
    """Load a signature that was written in OpenVINO's own form.

    With ``keep_compiled`` what OpenVINO compiles is kept beside it, under its path: it must not be moved afterwards.

    Raises:
        ModelFailedError: OpenVINO refuses the file.
        RuntimeMissingError: OpenVINO is not installed.
        OutOfMemoryError: the model does not fit.
    """
    module = openvino()
    try:
        folder = engine.path.parent / CACHE_FOLDER if keep_compiled else None
        compiled = compile_model(engine.path, precision, options.intra_op_threads, folder)
        call = call_of(module, compiled, engine.signature, engine.inputs, engine.outputs)
    except OPENVINO_ERRORS as error:
        raise load_error(error) from error
    return CalledModel(RuntimeName.OPENVINO.value, [call], {}, weights_bytes, describe(options, precision))


def load_saved_model(path: Path, options: LoadOptions) -> Runtime:
    """Load the default signature of the SavedModel in the folder ``path`` without TensorFlow.

    Raises:
        UnsupportedModelError: OpenVINO cannot execute it.
        ModelFailedError: the files are damaged.
        RuntimeMissingError: OpenVINO is not installed.
    """
    if options.tags != (SERVE_TAG,):
        raise UnsupportedModelError(f"Without TensorFlow only the graph tagged '{SERVE_TAG}' can be served.")
    module = openvino()
    signatures = read_signatures(path)
    signature, *others = signatures
    if others and signature.name != DEFAULT_SIGNATURE:
        # Which of several OpenVINO would take is its own choice.
        raise UnsupportedModelError(f"Without TensorFlow a model of several signatures needs '{DEFAULT_SIGNATURE}'.")
    refuse_element_types(signature)
    refuse_unlike(path, signature)
    try:
        model = core().read_model(path)
        precision = served_precision(options)
        compiled = compile_model(model, precision, options.intra_op_threads)
        weights_bytes = weights_of(model)
        names = ({name: name for name in signature.inputs}, {name: name for name in signature.outputs})
        call = call_of(module, compiled, signature, *names)
    except OPENVINO_ERRORS as error:
        raise UnsupportedModelError(
            f"{load_error(error).message} TensorFlow, which would serve it, is not installed.", log_detail=str(error)
        ) from error
    refused = {other.name: "without TensorFlow only the default signature is served" for other in others}
    path_text = f"{describe(options, precision)}, not compared with TensorFlow"
    return CalledModel(RuntimeName.OPENVINO.value, [call], refused, weights_bytes, path_text)


def refuse_element_types(signature: Signature) -> None:
    """Raise UnsupportedModelError where OpenVINO cannot carry an input or output."""
    for kind, specs in (("input", signature.inputs), ("output", signature.outputs)):
        for name, spec in specs.items():
            if spec.dtype not in CARRIED:
                raise UnsupportedModelError(f"OpenVINO takes no {spec.dtype} tensors, as {kind} '{name}' is one.")
            if spec.shape is None and kind == "input":
                raise UnsupportedModelError(f"OpenVINO needs to know how many dimensions input '{name}' has.")


def served_precision(options: LoadOptions) -> Precision:
    """What OpenVINO computes in: bfloat16 where the operator accepts it and the processor can, else float32."""
    return Precision.BF16 if options.precision is Precision.BF16 and supports_bf16() else Precision.FLOAT32


def refuse_wide_numbers(signature: Signature) -> None:
    """Raise UnsupportedModelError for inputs of whole numbers that OpenVINO would cut to 32 bits, without a word."""
    for name, spec in signature.inputs.items():
        if spec.dtype in WIDE:
            raise UnsupportedModelError(f"OpenVINO computes with 32 of the bits of {spec.dtype} input '{name}'.")


def weights_of(model: Any) -> int:
    """Bytes of the constants of an OpenVINO model."""
    return sum(
        node.get_byte_size() if hasattr(node, "get_byte_size") else node.data.nbytes
        for node in model.get_ops()
        if node.get_type_name() == "Constant"
    )


def call_of(
    module: Any, compiled: Any, signature: Signature, inputs: Mapping[str, str], outputs: Mapping[str, str]
) -> CompiledCall:
    """The call of a compiled model whose tensors have the names ``inputs`` and ``outputs``."""
    ins = [position(compiled.inputs, inputs[name]) for name in signature.inputs]
    outs = [position(compiled.outputs, outputs[name]) for name in signature.outputs]
    return CompiledCall(module.Tensor, compiled, signature, ins, outs)


def port_name(ports: Iterable[Any], tensor: str) -> str:
    """The name OpenVINO gives the graph's ``tensor``. Raises UnsupportedModelError where it is not among ``ports``."""
    wanted = {tensor, tensor.removesuffix(":0")}
    for port in ports:
        found: set[str] = wanted & port.get_names()
        if found:
            return min(found)
    raise UnsupportedModelError(f"OpenVINO leaves out the tensor '{tensor[:100]}', which the model does not need.")


def position(ports: Iterable[Any], name: str) -> int:
    """Which of ``ports`` is the tensor called ``name``. Raises ModelFailedError where none is."""
    for index, port in enumerate(ports):
        if name in port.get_names():
            return index
    raise ModelFailedError(f"OpenVINO's form of the model has no tensor '{name[:100]}'.")


def describe(options: LoadOptions, precision: Precision) -> str:
    """How a model is called, for the metadata."""
    return f"OpenVINO, {precision.value}, {described_threads(options.intra_op_threads)}"
