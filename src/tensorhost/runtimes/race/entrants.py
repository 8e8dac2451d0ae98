"""Who may execute a model instead of its own runtime: what each needs, how the model is written for it, how it loads.

Writing needs the model loaded in its own runtime. What is written lies in one folder, under names made here. What must
stay true: an entrant that cannot take a signature says why and costs the others nothing.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from tensorhost.core.errors import ModelFailedError, UnsupportedModelError
from tensorhost.runtimes.base import LoadOptions, ModelFormat, Precision, Runtime, RuntimeName
from tensorhost.runtimes.conversion import write_saved_model, write_tflite
from tensorhost.runtimes.engine_files import EngineFile, EngineSignature
from tensorhost.runtimes.installed import is_installed
from tensorhost.runtimes.litert.loader import load_tflite
from tensorhost.runtimes.litert.runtime import LiteRTRuntime
from tensorhost.runtimes.onnxruntime import runtime as onnx
from tensorhost.runtimes.onnxruntime.conversion import write_from_graph
from tensorhost.runtimes.openvino import loader as openvino_loader
from tensorhost.runtimes.openvino import process as openvino
from tensorhost.runtimes.openvino.tflite import write_from_tflite
from tensorhost.runtimes.race.graph_files import has_loop, wide_arithmetic, write_graph
from tensorhost.runtimes.race.verdict import Entrant, unportable
from tensorhost.runtimes.tensorflow.process import tensorflow
from tensorhost.runtimes.tensorflow.session import SessionRuntime


def entrants(model_format: ModelFormat, options: LoadOptions) -> list[Entrant]:
    """Who may try a model of a format, besides its own runtime: what is installed, and what the operator names.

    In the order in which they are tried: the one that is quickest to make first.
    """
    native = RuntimeName.native_of(model_format)
    wanted = [RuntimeName.OPENVINO, RuntimeName.LITERT, RuntimeName.ONNXRUNTIME]
    if options.runtime is not RuntimeName.AUTO:
        wanted = [options.runtime]
    elif native is RuntimeName.LITERT:
        # Such a file has no TensorFlow graph any more.
        wanted = [RuntimeName.OPENVINO]
    found = [Entrant(name, Precision.FLOAT32) for name in wanted if name is not native and is_installed(name)]
    if options.precision is Precision.BF16 and RuntimeName.OPENVINO in wanted and is_installed(RuntimeName.OPENVINO):
        found.append(Entrant(RuntimeName.OPENVINO, Precision.BF16))
    if options.precision is Precision.INT8 and RuntimeName.LITERT in wanted and is_installed(RuntimeName.LITERT):
        found.append(Entrant(RuntimeName.LITERT, Precision.INT8))
    return found


def write_engine(
    entrant: Entrant, native: Runtime, model: Path, signature: str, folder: Path, options: LoadOptions
) -> EngineFile:
    """Write one signature of a loaded model in the form ``entrant`` executes.

    Args:
        entrant: for whom.
        native: the model in its own runtime, before it has been called in a way that changes it.
        model: its file; read for TensorFlow Lite models.
        signature: one of its signatures.
        folder: where to.
        options: what it was loaded with.

    Raises:
        UnsupportedModelError: it cannot be written for this runtime.
        ModelFailedError: the writer failed.
    """
    stem = f"{entrant.label.replace(' ', '-')}-{list(native.signatures).index(signature)}"
    if isinstance(native, LiteRTRuntime):
        if entrant.runtime is not RuntimeName.OPENVINO:
            raise UnsupportedModelError("A TensorFlow Lite file is only given to OpenVINO.")
        openvino_loader.refuse_element_types(native.signatures[signature])
        openvino_loader.refuse_wide_numbers(native.signatures[signature])
        return write_from_tflite(model, native.signatures[signature], folder, f"{stem}.xml")
    if not isinstance(native, SessionRuntime):
        raise UnsupportedModelError(f"The model runs in a way that cannot be written ({native.call_path(signature)}).")
    if reason := unportable(native.signatures[signature], native.call_path(signature)):
        raise UnsupportedModelError(reason)
    if entrant.runtime is RuntimeName.OPENVINO:
        if entrant.precision is Precision.BF16 and not openvino.supports_bf16():
            raise UnsupportedModelError("The processor does not compute in bfloat16.")
        return _for_openvino(native, signature, folder, stem, options)
    if entrant.runtime is RuntimeName.LITERT:
        return _for_litert(native, signature, folder, stem, options, int8=entrant.precision is Precision.INT8)
    return _for_onnxruntime(native, signature, folder, stem, options)


def open_engine(
    entrant: Entrant, engine: EngineSignature, weights_bytes: int, options: LoadOptions, *, keep_compiled: bool = False
) -> Runtime:
    """Load what ``write_engine`` wrote: a runtime with the one signature.

    Args:
        entrant: whose form it is.
        engine: what was written.
        weights_bytes: bytes of the model's parameters.
        options: thread counts.
        keep_compiled: keep what is compiled from it beside it, for the next time.

    Raises TensorhostError.
    """
    if entrant.runtime is RuntimeName.OPENVINO:
        return openvino_loader.load_engine(
            engine, weights_bytes, options, entrant.precision, keep_compiled=keep_compiled
        )
    if entrant.runtime is RuntimeName.ONNXRUNTIME:
        return onnx.load_engine(engine, weights_bytes, options)
    runtime = load_tflite(engine.path, options)
    if engine.signature.name not in runtime.signatures:
        runtime.close()
        raise ModelFailedError("A compiled form of the model lacks its signature.")
    return runtime


def _for_openvino(native: SessionRuntime, signature: str, folder: Path, stem: str, options: LoadOptions) -> EngineFile:
    openvino_loader.refuse_element_types(native.signatures[signature])
    openvino_loader.refuse_wide_numbers(native.signatures[signature])
    if operation := wide_arithmetic(native.served_graph, signature):
        raise UnsupportedModelError(f"{operation} computes with 64-bit integers, of which OpenVINO keeps 32 bits.")
    with tempfile.TemporaryDirectory() as scratch:
        graph = write_graph(tensorflow(options), native.served_graph, signature, Path(scratch), "graph.pb")
        return openvino_loader.write_from_graph(Path(scratch) / graph.file, graph, folder, f"{stem}.xml")


def _for_litert(
    native: SessionRuntime, signature: str, folder: Path, stem: str, options: LoadOptions, *, int8: bool
) -> EngineFile:
    with tempfile.TemporaryDirectory() as scratch:
        saved_model = Path(scratch) / "saved_model"
        write_saved_model(native, saved_model, options, signature)
        write_tflite(saved_model, folder / f"{stem}.tflite", options, int8_weights=int8)
    spec = native.signatures[signature]
    return EngineFile(f"{stem}.tflite", {name: name for name in spec.inputs}, {name: name for name in spec.outputs})


def _for_onnxruntime(
    native: SessionRuntime, signature: str, folder: Path, stem: str, options: LoadOptions
) -> EngineFile:
    onnx.refuse_element_types(native.signatures[signature])
    if options.runtime is RuntimeName.AUTO and not has_loop(native.served_graph, signature):
        raise UnsupportedModelError("It is only tried for recurrent networks: converting takes long.")
    with tempfile.TemporaryDirectory() as scratch:
        graph = write_graph(tensorflow(options), native.served_graph, signature, Path(scratch), "graph.pb")
        return write_from_graph(Path(scratch) / graph.file, graph, folder, f"{stem}.onnx")
