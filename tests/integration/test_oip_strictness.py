"""Requests that do not fit, over both wires: the same status and the same words, whichever was asked."""

from __future__ import annotations

import http.client
import json
import struct
from typing import Any, NamedTuple
from urllib.parse import quote

import grpc
import numpy as np
import pytest
from native_server import TIMEOUT_S, exchange
from oip_clients import typed_request
from oip_models import DATATYPES, UNTYPED
from tritonclient.grpc import service_pb2_grpc

X: dict[str, Any] = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}
RAW = np.float32([1, 2, 3, 4]).tobytes()
FIELDS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""Where typed contents have the elements of a datatype; of those there are none of, as FP32's."""
CODES = {400: "INVALID_ARGUMENT", 404: "NOT_FOUND", 413: "RESOURCE_EXHAUSTED"}


class Wires:
    """Asks the same over HTTP and over gRPC."""

    def __init__(self, server: Any) -> None:
        self._http = http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT_S)
        self._channel = grpc.insecure_channel(server.grpc_address)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    def close(self) -> None:
        self._http.close()
        self._channel.close()

    def rest(self, body: Any, model: str = "identity", version: str = "") -> tuple[int, Any]:
        """Status, and the answer or the text of the error."""
        path = f"/v2/models/{quote(model, safe='')}" + (f"/versions/{version}" if version else "") + "/infer"
        headers = {}
        if isinstance(body, tuple):
            head = json.dumps(body[0]).encode()
            headers, body = {"Inference-Header-Content-Length": str(len(head))}, head + body[1]
        answer = exchange(self._http, "POST", path, body, headers)
        if answer.status == 200:
            return 200, answer.json
        assert list(answer.json) == ["error"]
        return answer.status, answer.json["error"]

    def rpc(self, request: Any) -> tuple[str, Any]:
        """Status, and the answer or the text of the error."""
        try:
            return "OK", self._stub.ModelInfer(request, timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            return error.code().name, error.details()


@pytest.fixture(scope="module")
def wires(oip_server):
    asked = Wires(oip_server)
    yield asked
    # After all of it the server answers as before.
    assert asked.rest({"inputs": [X]})[1]["outputs"][0]["data"] == [2, 4, 6, 8]
    asked.close()


def message_of(body: dict[str, Any], model: str = "identity", version: str = "") -> Any:
    """The message that says what the JSON of a request says, with typed contents."""
    message = typed_request(model, model_version=version, id=body.get("id", ""))
    fill(message.parameters, body.get("parameters", {}))
    for each in body["inputs"]:
        tensor = message.inputs.add(name=each["name"], datatype=each["datatype"], shape=each["shape"])
        fill(tensor.parameters, each.get("parameters", {}))
        elements = [value.encode() if isinstance(value, str) else value for value in each.get("data", [])]
        getattr(tensor.contents, FIELDS.get(each["datatype"], "fp32_contents")).extend(elements)
        if "data" not in each:
            tensor.ClearField("contents")
    for each in body.get("outputs", []):
        fill(message.outputs.add(name=each["name"]).parameters, each.get("parameters", {}))
    return message


def fill(parameters: Any, given: dict[str, Any]) -> None:
    for name, value in given.items():
        if value is None:
            parameters[name].SetInParent()
            continue
        is_wide = type(value) is int and value >= 2**63
        kind = {bool: "bool", int: "uint64" if is_wide else "int64", float: "double", str: "string"}[type(value)]
        setattr(parameters[name], f"{kind}_param", value)


def of(**fields: Any) -> dict[str, Any]:
    """A request with one input, ``X`` but for ``fields``."""
    return {"inputs": [{key: value for key, value in (X | fields).items() if value is not None}]}


def wanting(name: str = "y", **parameters: Any) -> dict[str, Any]:
    """A request for one output."""
    return of() | {"outputs": [{"name": name, "parameters": parameters}]}


def with_parameters(**parameters: Any) -> dict[str, Any]:
    return of() | {"parameters": parameters}


def shared(**fields: Any) -> dict[str, Any]:
    """A request whose input lies in shared memory."""
    return of(data=None, parameters={"shared_memory_region": "r", "shared_memory_byte_size": 16} | fields)


class Case(NamedTuple):
    """A request, the status it gets over HTTP, and how the error begins; over gRPC where that differs."""

    body: dict[str, Any]
    text: str
    status: int = 400
    model: str = "identity"
    rpc_text: str = ""


NOT_WHOLE = "must be a whole number that is not negative"
CASES = {
    # Names.
    "wrong name": Case(of(name="zzz"), "unexpected inference input 'zzz' for model 'identity'"),
    "empty name": Case(of(name=""), "unexpected inference input '' for model 'identity'"),
    "name with a zero byte": Case(of(name="x\0"), "unexpected inference input 'x\0' for model 'identity'"),
    "long name": Case(of(name="n" * 10_000), f"The name '{'n' * 32}…' of a tensor has 10000 characters"),
    "duplicate": Case({"inputs": [X, X]}, "input 'x' already exists in request"),
    "extra": Case({"inputs": [X, X | {"name": "more"}]}, "unexpected inference input 'more' for model 'identity'"),
    "missing": Case({"inputs": []}, "expected 1 inputs but got 0 inputs for model 'identity'. Got input(s) []"),
    "one missing": Case(
        {"inputs": [{"name": "INPUT0", "datatype": "INT32", "shape": [1, 16], "data": [1] * 16}]},
        "expected 2 inputs but got 1 inputs for model 'simple'. Got input(s) ['INPUT0'], but missing required input(s) "
        "['INPUT1']",
        model="simple",
    ),
    "1001 inputs": Case({"inputs": [X] * 1001}, "The request has 1001 inputs; at most 1000 are allowed."),
    "unknown output": Case(wanting("zz"), "unexpected inference output 'zz' for model 'identity'"),
    "long output": Case(wanting("o" * 10_000), f"The name '{'o' * 32}…' of a tensor has 10000 characters"),
    "duplicate output": Case(of() | {"outputs": [{"name": "y"}] * 2}, "output 'y' is requested twice"),
    "1001 outputs": Case(
        of() | {"outputs": [{"name": "y"}] * 1001}, "The request has 1001 outputs; at most 1000 are allowed."
    ),
    "unknown model": Case(of(), "Request for unknown model: 'nope' is not found", 404, "nope"),
    "model with a zero byte": Case(of(), "Request for unknown model: 'a\0' is not found", 404, "a\0"),
    "model with a slash": Case(of(), "Request for unknown model: 'a/b' is not found", 404, "a/b"),
    "long model": Case(of(), f"Request for unknown model: '{'m' * 128}' is not found", 404, "m" * 10_000),
    # Datatypes.
    "datatype of another": Case(
        of(datatype="INT64"), "inference input 'x' data-type is 'INT64', but model 'identity' expects 'FP32'"
    ),
    "no datatype": Case(of(datatype="FP99"), "Input 'x' has an invalid datatype 'FP99'; the datatypes are BOOL, "),
    "empty datatype": Case(of(datatype=""), "Input 'x' has an invalid datatype ''; the datatypes are BOOL, "),
    "long datatype": Case(of(datatype="d" * 10_000), f"Input 'x' has an invalid datatype '{'d' * 32}'; the "),
    # Shapes.
    "shape": Case(of(shape=[1, 5]), "unexpected shape for input 'x' for model 'identity'. Expected [-1,4], got [1,5]."),
    "rank": Case(of(shape=[4]), "unexpected shape for input 'x' for model 'identity'. Expected [-1,4], got [4]."),
    "no rank": Case(of(shape=[]), "unexpected shape for input 'x' for model 'identity'. Expected [-1,4], got []."),
    "negative size": Case(of(shape=[-1, 4]), "Input 'x' has a dimension below zero in its shape [-1, 4]."),
    "negative sizes": Case(of(shape=[-1, -4]), "Input 'x' has a dimension below zero in its shape [-1, -4]."),
    "least size": Case(of(shape=[-(2**63) + 1, 4]), "Input 'x' has a dimension below zero in its shape"),
    "65 dimensions": Case(of(shape=[1] * 65), "Input 'x' has 65 dimensions; at most 64 are allowed."),
    "too many rows": Case(
        of(shape=[33, 4], data=[0] * 132),
        "inference request batch-size must be <= 32 for 'identity', but input 'x' has 33 rows",
    ),
    "sizes that overflow": Case(of(shape=[2**62, 4]), "inference request batch-size must be <= 32 for 'identity'"),
    "more than fits": Case(of(shape=[2**62]), "Input 'x' has more than ", 413, "slow"),
    # Elements.
    "too few": Case(
        of(data=[1, 2, 3]),
        "Input 'x' has data of shape [3], expected [1, 4] or 4 elements in one list.",
        rpc_text="Input 'x' has 3 elements in fp32_contents, expected 4 for its shape [1, 4].",
    ),
    "too many": Case(
        of(data=[1] * 5),
        "Input 'x' has data of shape [5], expected [1, 4] or 4 elements in one list.",
        rpc_text="Input 'x' has 5 elements in fp32_contents, expected 4 for its shape [1, 4].",
    ),
    "none": Case(
        of(data=None),
        "Input 'x' must have one of 'data', 'binary_data_size' and 'shared_memory_region', but has none.",
        rpc_text="Input 'x' has 0 elements in fp32_contents, expected 4 for its shape [1, 4].",
    ),
    "here and in shared memory": Case(
        of(parameters={"shared_memory_region": "r", "shared_memory_byte_size": 16}),
        "Input 'x' must have one of 'data', ",
        rpc_text="Input 'x' must have one of 'contents' and 'shared_memory_region', but has 'shared_memory_region' and "
        "'contents'.",
    ),
    # Shared memory.
    "no such region": Case(shared(), "Unable to find shared memory region: 'r'", 404),
    "no region": Case(shared(shared_memory_region=""), "parameter 'shared_memory_region' must be the name of a region"),
    "region of a number": Case(shared(shared_memory_region=7), "parameter 'shared_memory_region' must be the name of"),
    "negative offset": Case(shared(shared_memory_offset=-1), "parameter 'shared_memory_offset' must be a number of"),
    "size of a text": Case(
        shared(shared_memory_byte_size="16"), "parameter 'shared_memory_byte_size' must be a number"
    ),
    "size of another": Case(
        shared(shared_memory_byte_size=12), "input byte size mismatch for input 'x' for model 'identity'. Expected 16"
    ),
    # Parameters.
    "negative timeout": Case(with_parameters(timeout=-1), f"parameter 'timeout' {NOT_WHOLE}"),
    "timeout with a fraction": Case(with_parameters(timeout=1.5), f"parameter 'timeout' {NOT_WHOLE}"),
    "timeout of a float": Case(with_parameters(timeout=1.0), f"parameter 'timeout' {NOT_WHOLE}"),
    "timeout of a bool": Case(with_parameters(timeout=True), f"parameter 'timeout' {NOT_WHOLE}"),
    "timeout of a word": Case(with_parameters(timeout="soon"), f"parameter 'timeout' {NOT_WHOLE}"),
    "timeout of no digits": Case(with_parameters(timeout=""), f"parameter 'timeout' {NOT_WHOLE}"),
    "timeout of other digits": Case(with_parameters(timeout="٣"), f"parameter 'timeout' {NOT_WHOLE}"),
    "timeout beyond 64 bits": Case(with_parameters(timeout=str(2**64)), f"parameter 'timeout' {NOT_WHOLE}"),
    "timeout of a million digits": Case(with_parameters(timeout="9" * 10**6), f"parameter 'timeout' {NOT_WHOLE}"),
    "priority of a word": Case(with_parameters(priority="high"), f"parameter 'priority' {NOT_WHOLE}"),
    "negative priority": Case(with_parameters(priority=-1), f"parameter 'priority' {NOT_WHOLE}"),
    "binary output of a text": Case(
        with_parameters(binary_data_output="yes"), "parameter 'binary_data_output' must be true or false"
    ),
    "binary of a text": Case(wanting(binary_data="true"), "parameter 'binary_data' must be true or false"),
    "binary of a number": Case(wanting(binary_data=1), "parameter 'binary_data' must be true or false"),
    "negative classes": Case(wanting(classification=-1), f"parameter 'classification' {NOT_WHOLE}"),
    "classes with a fraction": Case(wanting(classification=1.5), f"parameter 'classification' {NOT_WHOLE}"),
    "classes of texts": Case(
        {
            "inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["a"]}],
            "outputs": [{"name": "said", "parameters": {"classification": 1}}],
        },
        "class result not available for output 'said' due to unsupported type 'BYTES'",
        model="text",
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_what_does_not_fit_is_refused_alike(wires, case):
    status, said = wires.rest(case.body, case.model)
    assert (status, said[: len(case.text)]) == (case.status, case.text)
    code, told = wires.rpc(message_of(case.body, case.model))
    assert code == CODES[case.status]
    if case.rpc_text:
        assert told == case.rpc_text
    else:
        assert told == said


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        (with_parameters(timeout=2**64 - 1, priority="1", more=2**64 - 1, less=-(2**63)), "same"),
        (with_parameters(timeout=str(10**9), priority=99, none=None, triton_mine=1, sequence_id=7), "same"),
        (with_parameters(mine=1e300, text="é", on=False), "same"),
        (wanting(classification=2**64 - 1, binary_data=False), "classes"),
        (wanting(classification="1"), "classes"),
        (of(shape=[0, 4], data=[]), "empty"),
        (of(shape=[0, 4], data=[]) | {"outputs": [{"name": "y", "parameters": {"classification": 3}}]}, "empty"),
    ],
)
def test_what_fits_is_answered_alike(wires, body, answer):
    status, rest = wires.rest(body)
    assert status == 200
    code, response = wires.rpc(message_of(body))
    assert code == "OK"
    [output], [told] = rest["outputs"], response.outputs
    assert (output["name"], output["datatype"], output["shape"]) == (told.name, told.datatype, list(told.shape))
    contents = told.contents.bytes_contents if told.datatype == "BYTES" else told.contents.fp32_contents
    assert output["data"] == [value.decode() if isinstance(value, bytes) else value for value in contents]
    echoed = {name: getattr(value, value.WhichOneof("parameter_choice")) for name, value in response.parameters.items()}
    assert rest.get("parameters", {}) == echoed
    assert (answer == "classes") is (output["datatype"] == "BYTES" and bool(output["data"]))
    assert (answer == "empty") is (output["data"] == [])


def test_numbers_out_of_range_are_refused_by_both(wires):
    kinds = [name for name in DATATYPES if name not in UNTYPED]
    values = {"BOOL": [True, False], "BYTES": ["a", "b"]}
    inputs = [
        {"name": kind.lower(), "datatype": kind, "shape": [1, 2], "data": values.get(kind, [1, 2])} for kind in kinds
    ]
    assert wires.rpc(message_of({"inputs": inputs}, "typed"))[0] == "OK"
    for kind, number in (("INT8", 128), ("INT16", -(2**15) - 1), ("UINT8", 256), ("UINT16", 2**16)):
        inputs[kinds.index(kind)]["data"] = [0, number]
        status, said = wires.rest({"inputs": inputs}, "typed")
        assert (status, f"is the number {number}; the range is " in said) == (400, True)
        field = FIELDS[kind]
        assert wires.rpc(message_of({"inputs": inputs}, "typed")) == (
            "INVALID_ARGUMENT",
            f"Input '{kind.lower()}' has a number in {field} that is out of the range of {kind}.",
        )
        inputs[kinds.index(kind)]["data"] = [0, 1]


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (RAW[:-4], "Input 'x' has 12 bytes of data, expected 16."),
        (RAW + b"\0", "Input 'x' has 17 bytes of data, expected 16."),
        (b"", "Input 'x' has 0 bytes of data, expected 16."),
    ],
)
def test_raw_bytes_that_are_not_as_many_are_refused_alike(wires, raw, text):
    body = of(data=None, parameters={"binary_data_size": len(raw)})
    assert wires.rest((body, raw)) == (400, text)
    message = message_of(of(data=None))
    message.raw_input_contents.append(raw)
    assert wires.rpc(message) == ("INVALID_ARGUMENT", text)


@pytest.mark.parametrize(
    ("datatype", "raw", "text"),
    [
        ("BYTES", b"\1\0\0\0ab\0\0\0", "Input 'bytes': its bytes end inside element 1 of 2."),
        ("BYTES", struct.pack("<I", 2**32 - 1) * 2, "Input 'bytes': its bytes end inside element 0 of 2."),
        ("BYTES", bytes(9), "Input 'bytes' has 1 bytes behind its 2 elements."),
        ("BYTES", bytes(7), "Input 'bytes' has 7 bytes of data, expected at least 8."),
    ],
)
def test_raw_bytes_that_are_no_elements_are_refused_alike(wires, datatype, raw, text):
    zeros = {"BYTES": bytes(8), "BOOL": bytes(2), "UINT8": bytes(2), "INT8": bytes(2), "UINT16": bytes(4)}
    zeros |= {"INT16": bytes(4), "UINT32": bytes(8), "INT32": bytes(8), "FP32": bytes(8)}
    zeros |= {"UINT64": bytes(16), "INT64": bytes(16), "FP64": bytes(16)}
    given = zeros | {datatype: raw}
    inputs = [{"name": name.lower(), "datatype": name, "shape": [1, 2]} for name in given]
    sized = [each | {"parameters": {"binary_data_size": len(given[each["datatype"]])}} for each in inputs]
    assert wires.rest(({"inputs": sized}, b"".join(given.values())), "typed") == (400, text)
    message = message_of({"inputs": inputs}, "typed")
    message.raw_input_contents.extend(given.values())
    assert wires.rpc(message) == ("INVALID_ARGUMENT", text)


@pytest.mark.parametrize(
    ("version", "text"),
    [
        ("00002", ""),
        ("0", "Request for unknown model: 'identity' version 0 is not found"),
        ("99", "Request for unknown model: 'identity' version 99 is not found"),
        (str(2**63 - 1), f"Request for unknown model: 'identity' version {2**63 - 1} is not found"),
        ("9" * 20, f"failed to get model version from specified version string '{'9' * 20}', version should be an"),
        ("9" * 4000, f"failed to get model version from specified version string '{'9' * 128}', version should be an"),
    ],
)
def test_versions_are_read_alike(wires, version, text):
    status, said = wires.rest(of(), version=version)
    code, told = wires.rpc(message_of(of(), version=version))
    if not text:
        assert (status, said["model_version"], code, told.model_version) == (200, "2", "OK", "2")
        return
    assert (CODES[status], said) == (code, told)
    assert said.startswith(text)


def test_a_text_that_is_no_utf_8_is_refused_by_each_wire_in_its_words(wires):
    bad = json.dumps(of()).encode().replace(b'"x"', b'"\xff"')
    assert wires.rest(bad) == (400, f"The body is not valid UTF-8: byte {bad.index(0xFF)} cannot be decoded.")
    message = message_of(of(name="Q")).SerializeToString().replace(b"Q", b"\xff")
    call = wires._channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    with pytest.raises(grpc.RpcError) as refused:
        call(message, timeout=TIMEOUT_S)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert refused.value.details() == "These bytes are not a message ModelInferRequest."
