"""TensorFlow Lite files for OpenVINO: written in its own form where LiteRT has loaded them, read as they are elsewhere.

LiteRT itself is not needed: what a file offers is read off the file. What must stay true: only float models come here
with a chance, since numbers that stand for real values would be rounded in another way.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tensorhost.core.errors import UnsupportedModelError
from tensorhost.core.signatures import Signature
from tensorhost.runtimes.base import CalledModel, LoadOptions, Runtime, RuntimeName
from tensorhost.runtimes.engine_files import EngineFile
from tensorhost.runtimes.litert.consistency import check_model, weights_bytes
from tensorhost.runtimes.litert.model_file import ModelFile, parse_model, read_model_file
from tensorhost.runtimes.litert.signatures import BoundSignature, bind_signatures
from tensorhost.runtimes.openvino.loader import call_of, describe, port_name, refuse_element_types, served_precision
from tensorhost.runtimes.openvino.process import OPENVINO_ERRORS, compile_model, core, load_error, openvino


def write_from_tflite(path: Path, signature: Signature, folder: Path, file: str) -> EngineFile:
    """Write one signature of the file ``path`` in OpenVINO's own form.

    Args:
        path: a ``.tflite`` file.
        signature: as LiteRT serves it; where it takes any number of rows, so does what is written.
        folder, file: where to.

    Raises:
        UnsupportedModelError: OpenVINO cannot execute it.
        ModelFailedError: the file is damaged.
    """
    model = _checked(path)
    bound = next((each for each in bind_signatures(model, dequantize=False)[0] if _fits(each, signature)), None)
    if bound is None:
        raise UnsupportedModelError("Signatures with quantised inputs or outputs are left to LiteRT.")
    try:
        found = core().read_model(path)
        names = _names(found, model, bound)
        _free_rows(found, names, signature)
        openvino().save_model(found, folder / file, compress_to_fp16=False)
    except OPENVINO_ERRORS as error:
        raise UnsupportedModelError(load_error(error).message, log_detail=str(error)) from error
    return EngineFile(file, *names)


def load_tflite_file(path: Path, options: LoadOptions) -> Runtime:
    """Load the ``.tflite`` file at ``path`` without LiteRT, with the rows that the file says.

    Raises:
        UnsupportedModelError: OpenVINO cannot execute it.
        ModelFailedError: the file is damaged.
        RuntimeMissingError: OpenVINO is not installed.
    """
    module = openvino()
    model = _checked(path)
    bound, refused = bind_signatures(model, dequantize=options.dequantize)
    usable = [each for each in bound if each.subgraph == 0 and not _quantised(each)]
    refused |= {each.signature.name: "without LiteRT quantised signatures are not served" for each in bound}
    if not usable:
        raise UnsupportedModelError("OpenVINO serves float models only; LiteRT, which serves others, is not installed.")
    precision = served_precision(options)
    try:
        found = core().read_model(path)
        compiled = compile_model(found, precision, options.intra_op_threads)
        calls = []
        for each in usable:
            refuse_element_types(each.signature)
            refused.pop(each.signature.name)
            calls.append(call_of(module, compiled, each.signature, *_names(found, model, each)))
    except OPENVINO_ERRORS as error:
        raise UnsupportedModelError(load_error(error).message, log_detail=str(error)) from error
    path_text = f"{describe(options, precision)}, not compared with LiteRT"
    return CalledModel(RuntimeName.OPENVINO.value, calls, refused, weights_bytes(model), path_text)


def _checked(path: Path) -> ModelFile:
    model = parse_model(read_model_file(path))
    check_model(model)
    return model


def _fits(bound: BoundSignature, signature: Signature) -> bool:
    return bound.signature.name == signature.name and bound.subgraph == 0 and not _quantised(bound)


def _quantised(bound: BoundSignature) -> bool:
    return any(port.is_quantised for port in (*bound.inputs, *bound.outputs))


def _names(found: Any, model: ModelFile, bound: BoundSignature) -> tuple[dict[str, str], dict[str, str]]:
    tensors = model.subgraphs[bound.subgraph].tensors
    inputs = {port.spec.name: port_name(found.inputs, tensors[port.tensor].name) for port in bound.inputs}
    outputs = {port.spec.name: port_name(found.outputs, tensors[port.tensor].name) for port in bound.outputs}
    return inputs, outputs


def _free_rows(found: Any, names: tuple[dict[str, str], dict[str, str]], signature: Signature) -> None:
    """Let the model take any number of rows where the signature does."""
    shapes = {}
    for name, spec in signature.inputs.items():
        if spec.is_batchable and spec.shape is not None:
            shapes[names[0][name]] = [-1 if size is None else size for size in spec.shape]
    if shapes:
        found.reshape(shapes)
