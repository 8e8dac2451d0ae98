"""How long tensors take between bytes of the Open Inference Protocol and numpy, against the plain ways in Python.

Run: ``python -m benchmarks.oip_codec [--save]``. Takes under a minute. ``--save`` writes
``benchmarks/results/oip_codec.json``: machine, versions, microseconds and ratios. Every figure is the best of several
rounds, the ways taken in turn. The plain ways are the JSON module, protobuf with ``numpy.array`` over its lists, and
the functions of Triton's client for strings. None of them checks what it reads.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from tritonclient.grpc import service_pb2
from tritonclient.utils import deserialize_bytes_tensor, serialize_byte_tensor

from benchmarks.codecs import cpu_name, time_ways
from tensorhost.codecs.oip import (
    InferResponse,
    OutputTensor,
    datatype_of,
    read_grpc_request,
    read_http_request,
    write_grpc_response,
    write_http_response,
)
from tensorhost.core.dtypes import DType

RESULT = Path(__file__).parent / "results" / "oip_codec.json"
_GENERATOR = np.random.default_rng(0)
_MAX_ELEMENTS = 2**27
ARRAYS: dict[str, np.ndarray[Any, Any]] = {
    "float32 1x3": _GENERATOR.random((1, 3), np.float32),
    "float32 1x224x224x3": _GENERATOR.random((1, 224, 224, 3), np.float32),
    "string 32": np.array([b"some text of a client's %d" % index for index in range(32)], object),
}
Ways = dict[str, Callable[[], object]]


def _raw(array: np.ndarray[Any, Any]) -> bytes:
    return bytes(serialize_byte_tensor(array).item()) if array.dtype == object else array.tobytes()


def _plain_array(data: bytes, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """``data``, raw bytes, as an array of the dtype and shape of ``array``."""
    flat = deserialize_bytes_tensor(data) if array.dtype == object else np.frombuffer(data, array.dtype)
    return np.asarray(flat).reshape(array.shape)


def _answer(array: np.ndarray[Any, Any], *, as_binary: bool = False) -> InferResponse:
    return InferResponse("m", "1", [OutputTensor("y", array, as_binary=as_binary)])


def binary_rest(array: np.ndarray[Any, Any]) -> Ways:
    """A body with binary tensor data to the array, and the array to the body of an answer with such."""
    raw = _raw(array)
    tensor = {"name": "x", "shape": array.shape, "datatype": datatype_of(DType.of(array))}
    head = json.dumps({"inputs": [{**tensor, "parameters": {"binary_data_size": len(raw)}}]}).encode()
    body, length = head + raw, str(len(head))

    def tensorhost() -> object:
        [given] = read_http_request(body, length).inputs
        return write_http_response(_answer(given.decode(max_elements=_MAX_ELEMENTS), as_binary=True)).pieces

    def plain() -> object:
        stated = json.loads(body[: int(length)])["inputs"][0]
        size = stated["parameters"]["binary_data_size"]
        read = _plain_array(body[int(length) : int(length) + size], array)
        answered = _raw(read)
        outputs = [{**tensor, "parameters": {"binary_data_size": len(answered)}}]
        return json.dumps({"model_name": "m", "outputs": outputs}).encode() + answered

    return {"tensorhost": tensorhost, "plain": plain}


def json_rest(array: np.ndarray[Any, Any]) -> Ways:
    """A body with a flat list to the array, and the array to the body of an answer with such."""
    texts = [value.decode() for value in array.tolist()] if array.dtype == object else array.reshape(-1).tolist()
    tensor = {"name": "x", "shape": array.shape, "datatype": datatype_of(DType.of(array))}
    body = json.dumps({"inputs": [{**tensor, "data": texts}]}).encode()

    def tensorhost() -> object:
        [given] = read_http_request(body, None).inputs
        return write_http_response(_answer(given.decode(max_elements=_MAX_ELEMENTS))).pieces

    def plain() -> object:
        stated = json.loads(body)["inputs"][0]
        read = np.array(stated["data"], array.dtype).reshape(stated["shape"])
        outputs = [{**tensor, "data": read.reshape(-1).tolist()}]
        return json.dumps({"model_name": "m", "outputs": outputs}).encode()

    return {"tensorhost": tensorhost, "plain": plain}


def raw_grpc(array: np.ndarray[Any, Any]) -> Ways:
    """A request with raw contents to the array, and the array to an answer with such."""
    request = service_pb2.ModelInferRequest(model_name="m", raw_input_contents=[_raw(array)])
    request.inputs.add(name="x", datatype=datatype_of(DType.of(array)), shape=array.shape)
    body = request.SerializeToString()

    def tensorhost() -> object:
        [given] = read_grpc_request(body).inputs
        return write_grpc_response(_answer(given.decode(max_elements=_MAX_ELEMENTS)))

    def plain() -> object:
        read = _plain_array(service_pb2.ModelInferRequest.FromString(body).raw_input_contents[0], array)
        response = service_pb2.ModelInferResponse(model_name="m", raw_output_contents=[_raw(read)])
        response.outputs.add(name="y", datatype=datatype_of(DType.of(array)), shape=array.shape)
        return response.SerializeToString()

    return {"tensorhost": tensorhost, "plain": plain}


def typed_grpc(array: np.ndarray[Any, Any]) -> Ways:
    """A request with typed contents to the array, and the array to an answer with such."""
    field = "bytes_contents" if array.dtype == object else "fp32_contents"
    request = service_pb2.ModelInferRequest(model_name="m")
    tensor = request.inputs.add(name="x", datatype=datatype_of(DType.of(array)), shape=array.shape)
    getattr(tensor.contents, field).extend(array.reshape(-1).tolist())
    body = request.SerializeToString()

    def tensorhost() -> object:
        [given] = read_grpc_request(body).inputs
        return write_grpc_response(_answer(given.decode(max_elements=_MAX_ELEMENTS)), typed_contents=True)

    def plain() -> object:
        given = service_pb2.ModelInferRequest.FromString(body).inputs[0]
        read = np.array(getattr(given.contents, field), array.dtype).reshape(given.shape)
        response = service_pb2.ModelInferResponse(model_name="m")
        answered = response.outputs.add(name="y", datatype=datatype_of(DType.of(array)), shape=array.shape)
        getattr(answered.contents, field).extend(read.reshape(-1).tolist())
        return response.SerializeToString()

    return {"tensorhost": tensorhost, "plain": plain}


FORMS = {"REST, binary": binary_rest, "REST, JSON": json_rest, "gRPC, raw": raw_grpc, "gRPC, typed": typed_grpc}


def main() -> None:
    results: list[dict[str, Any]] = []
    for form, make_ways in FORMS.items():
        for name, array in ARRAYS.items():
            micros = {way: round(taken, 2) for way, taken in time_ways(make_ways(array)).items()}
            ratio = round(micros["plain"] / micros["tensorhost"], 2)
            results.append({"form": form, "array": name, "microseconds": micros, "ratio": ratio})
            columns = "  ".join(f"{way} {taken:>10.1f} us" for way, taken in micros.items())
            print(f"{form:<13} {name:<20} {columns}  ({ratio:.2f}x)")
    if "--save" in sys.argv[1:]:
        load = round(os.getloadavg()[0], 1)
        machine = {"cpu": cpu_name(), "cores": os.cpu_count(), "load": load, "system": platform.system()}
        packages = {name: version(name) for name in ("numpy", "orjson", "protobuf", "pysimdjson", "tritonclient")}
        versions = {"python": platform.python_version(), **packages}
        what = "microseconds to read a request and write an answer; ratio: the plain way's over tensorhost's"
        saved = {"machine": machine, "versions": versions, "what": what, "results": results}
        RESULT.write_text(json.dumps(saved, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
