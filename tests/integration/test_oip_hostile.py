"""Requests of the Open Inference Protocol over HTTP that are made to hurt: each is refused in a sentence that says what
is wrong, none is taken for something else, and the server goes on answering."""

import gzip
import json
import random
import re
import struct

import numpy as np
import pytest
from oip_models import DATATYPES

INFER = "/v2/models/identity/infer"
X = {"name": "x", "datatype": "FP32", "shape": [1, 4]}
RAW = np.float32([1, 2, 3, 4]).tobytes()


def asked(*inputs, **more):
    return json.dumps({"inputs": list(inputs)} | more).encode()


def with_data(data, **more):
    return asked(X | {"data": data} | more)


def binary(size=16, raw=RAW, length=None, **more):
    """A body of JSON and a tensor, and the header that says where the JSON ends."""
    head = asked(X | {"parameters": {"binary_data_size": size}} | more)
    return head + raw, {"Inference-Header-Content-Length": str(len(head) if length is None else length)}


def answers_well(server):
    answer = server.request("POST", INFER, with_data([1, 2, 3, 4]))
    assert (answer.status, answer.json["outputs"][0]["data"]) == (200, [2, 4, 6, 8])


def refused(server, body, status=400, path=INFER, **headers):
    answer = server.request("POST", path, body, **headers)
    assert answer.status == status, (answer.status, answer.body[:500])
    assert set(answer.json) == {"error"}
    assert "Traceback" not in answer.json["error"]
    return answer.json["error"]


def short(value):
    return repr(value)[:60]


DEEP = b"[" * 100_000 + b"]" * 100_000


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "empty"),
        (b"{", "JSON"),
        (b"nothing", "JSON"),
        (b"[]", "object"),
        (b"\xff\xfe\x00", "JSON|UTF"),
        (b'{"inputs": ' + DEEP + b"}", "deep|nest"),
        (b"{}", "inputs"),
        (b'{"inputs": null}', "inputs"),
        (b'{"inputs": {}}', "inputs"),
        (asked(), "x"),
        (asked(None), "input"),
        (asked(X), "x"),
        (asked(X | {"data": [1, 2, 3, 4]}, X | {"data": [1, 2, 3, 4]}), "x"),
        (asked(X | {"data": [1, 2, 3, 4]}, X | {"name": "z", "data": [1, 2, 3, 4]}), "z"),
        (asked({"name": "z" * 10_000, "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}), "z"),
        (with_data([1, 2, 3]), "x"),
        (with_data([1, 2, 3, 4, 5]), "x"),
        (with_data([[1, 2], [3, 4]]), "x"),
        (with_data([[1, 2, 3, 4], [1]]), "x"),
        (with_data([1, 2, 3, "4"]), "x"),
        (with_data([1, 2, 3, None]), "x"),
        (with_data([1, 2, 3, {}]), "x"),
        (with_data(["1", "2", "3", "4"]), "x"),
        (with_data([1, 2, 3, True]), "x"),
        (with_data(1), "x"),
        (with_data({"a": 1}), "x"),
        (with_data([1, 2, 3, 4], name=7), "name"),
        (with_data([1, 2, 3, 4], datatype="FP99"), "FP99"),
        (with_data([1, 2, 3, 4], datatype="INT64"), "INT64"),
        (with_data([1, 2, 3, 4], datatype=None), "datatype"),
        (with_data([1, 2, 3, 4], shape=None), "shape"),
        (with_data([1, 2, 3, 4], shape="1,4"), "shape"),
        (with_data([1, 2, 3, 4], shape=[-1, 4]), "shape|negative|x"),
        (with_data([1, 2, 3, 4], shape=[1.5, 4]), "shape"),
        (with_data([1, 2, 3, 4], shape=[True, 4]), "shape"),
        (with_data([1, 2, 3, 4], shape=[2**70, 4]), "shape|x"),
        (with_data([1, 2, 3, 4], shape=[2**62, 4]), "shape|x"),
        (with_data([1, 2, 3, 4], shape=[4]), "x"),
        (with_data([1, 2, 3, 4], shape=[1] * 10_000), "x|shape"),
        (with_data([], shape=[0, 2**40]), "x"),
        (with_data([1, 2, 3, 4], parameters=[]), "parameters"),
        (with_data([1, 2, 3, 4], parameters={"binary_data_size": 16}), "x"),
        (asked(X | {"data": [1, 2, 3, 4]}, id=7), "id"),
        (asked(X | {"data": [1, 2, 3, 4]}, parameters=7), "parameters"),
        (asked(X | {"data": [1, 2, 3, 4]}, parameters={"timeout": "soon"}), "timeout"),
        (asked(X | {"data": [1, 2, 3, 4]}, parameters={"priority": -1}), "priority"),
        (asked(X | {"data": [1, 2, 3, 4]}, outputs={}), "outputs"),
        (asked(X | {"data": [1, 2, 3, 4]}, outputs=[7]), "output"),
        (asked(X | {"data": [1, 2, 3, 4]}, outputs=[{"name": "q"}]), "q"),
        (asked(X | {"data": [1, 2, 3, 4]}, outputs=[{"name": "y"}, {"name": "y"}]), "y"),
        (asked(X | {"data": [1, 2, 3, 4]}, outputs=[{"name": "y", "parameters": {"classification": -1}}]), "class"),
    ],
    ids=short,
)  # fmt: skip
def test_json_that_asks_for_nothing_sensible(oip_server, body, said):
    assert re.search(said, refused(oip_server, body), re.IGNORECASE)


def of_each_datatype(**data):
    """A request to the model that has every datatype, with ``data`` as JSON text for some."""
    given = {
        name: data.get(name, {"BOOL": "[true,false]", "BYTES": '["a","b"]'}.get(name, "[1,2]")) for name in DATATYPES
    }
    inputs = [
        f'{{"name":"{name.lower()}","datatype":"{name}","shape":[1,2],"data":{text}}}' for name, text in given.items()
    ]
    return f'{{"inputs":[{",".join(inputs)}]}}'.encode()


@pytest.mark.parametrize(
    ("datatype", "data", "said"),
    [
        ("BOOL", "[1,0]", "Input 'bool' must be bool: the value at [0] is the number 1; only true and false are"),
        ("BOOL", '["true",false]', "Input 'bool' must be bool: the value at [0] is a string"),
        ("INT32", "[1,1.5]", "Input 'int32' must be int32: the value at [1] is the number 1.5; a fraction would"),
        ("INT64", "[NaN,0]", "Input 'int64' must be int64: the value at [0] is the number NaN"),
        ("INT8", "[0,128]", "Input 'int8' must be int8: the value at [1] is the number 128; the range is -128 to 127."),
        ("UINT8", "[-1,0]", "Input 'uint8' must be uint8: the value at [0] is the number -1; the range is 0 to 255."),
        ("INT64", "[9223372036854775808,0]", "Input 'int64' must be int64: the value at [0] is the number 92233720"),
        ("UINT64", "[18446744073709551616,0]", "Input 'uint64' must be uint64: the value at [0] is the number 1.8"),
        ("FP16", "[70000,0]", "Input 'fp16' must be float16: the value at [0] is the number 70000; that is beyond"),
        ("BF16", "[1e39,0]", "Input 'bf16' must be bfloat16: the value at [0] is the number 1e+39; that is beyond"),
        ("FP32", "[1e39,0]", "Input 'fp32' must be float32: the value at [0] is the number 1e+39; that is beyond"),
        ("FP64", "[1e400,0]", "The body is not valid JSON: number is infinity"),
        ("BYTES", "[1,2]", "Input 'bytes' must be BYTES: the value at [0] is the number 1, expected a string."),
        ("BYTES", '[{"b64":"YQ=="},"b"]', "Input 'bytes' must be BYTES: the value at [0] is an object, expected a"),
        ("BYTES", '["\\ud800","b"]', "The body is not valid JSON: no low surrogate"),
        ("BYTES", '["a",["b"]]', "Input 'bytes' is ragged: the value at [1] is a list where others are not."),
    ],
)  # fmt: skip
def test_elements_that_a_datatype_does_not_have(oip_server, datatype, data, said):
    error = refused(oip_server, of_each_datatype(**{datatype: data}), path="/v2/models/datatypes/infer")
    assert error[: len(said)] == said


def test_numbers_without_a_fraction_are_whole_however_they_are_written(oip_server):
    body = of_each_datatype(INT32="[1.0,2e0]", UINT64="[18446744073709551615,0]", INT64="[-9223372036854775808,0]")
    answer = oip_server.request("POST", "/v2/models/datatypes/infer", body)
    assert answer.status == 200
    data = {output["name"]: output["data"] for output in answer.json["outputs"]}
    assert (data["int32_out"], data["uint64_out"], data["int64_out"]) == ([1, 2], [2**64 - 1, 0], [-(2**63), 0])


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (binary(raw=RAW[:12]), "x"),
        (binary(raw=RAW + b"\0"), "1 bytes behind"),
        (binary(raw=b""), "x"),
        (binary(size=12, raw=RAW[:12]), "x"),
        (binary(size=-16), "binary_data_size"),
        (binary(size=2**63), "x"),
        (binary(size=2**80), "x|binary_data_size"),
        (binary(size="16"), "binary_data_size"),
        (binary(size=16.0), "binary_data_size"),
        (binary(size=True), "binary_data_size"),
        (binary(data=[1, 2, 3, 4]), "x"),
        (binary(length=10**9), "header"),
        (binary(length=-1), "header"),
        (binary(length="garbage"), "header"),
        (binary(length="9" * 5000), "header"),
        (binary(length=10), "JSON"),
        (binary(length=0), "x|input"),
        (binary(datatype="BYTES"), "BYTES"),
        (binary(shape=[2**31, 2**31]), "x"),
    ],
    ids=short,
)  # fmt: skip
def test_binary_bodies_whose_sizes_disagree(oip_server, made, said):
    body, headers = made
    assert re.search(said, refused(oip_server, body, **headers), re.IGNORECASE)


@pytest.mark.parametrize(
    "raw",
    [
        struct.pack("<I", 5) + b"abc",
        struct.pack("<I", 2**32 - 1),
        b"\0\0\0",
        struct.pack("<I", 1) + b"a" + struct.pack("<I", 1) + b"b",
        struct.pack("<I", 1) + b"a" + b"\0",
    ],
)
def test_strings_whose_lengths_lie(oip_server, raw):
    given = {"name": "text", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(raw)}}
    head = asked(given)
    length = {"Inference-Header-Content-Length": str(len(head))}
    assert "text" in refused(oip_server, head + raw, path="/v2/models/text/infer", **length)


def test_bodies_that_are_not_what_their_encoding_says(oip_server):
    body = with_data([1, 2, 3, 4])
    for encoding, sent, status in (
        ("gzip", body, 400),
        ("gzip", gzip.compress(body)[:-6], 400),
        ("br", body, 415),
        ("gzip", gzip.compress(bytes(64 * 2**20)), 413),
    ):
        refused(oip_server, sent, status, Content_Encoding=encoding)
    answer = oip_server.request("POST", INFER, gzip.compress(body), Content_Encoding="gzip")
    assert answer.status == 200


@pytest.mark.parametrize("path", [INFER, "/v1/models/identity:predict"])
def test_a_body_that_is_refused_by_its_head_has_the_same_shape_of_error(oip_server, path):
    connection = oip_server.connect()
    connection.putrequest("POST", path)
    connection.putheader("Content-Length", str(2**40))
    connection.endheaders()
    response = connection.getresponse()
    assert response.status == 413
    error = json.loads(response.read())["error"]
    assert error.startswith("The request body must be at most ")
    connection.close()


def test_a_length_that_comes_twice(oip_server):
    body, headers = binary()
    [(name, length)] = headers.items()
    for second, status in ((length, 200), ("0", 400), (f" {length}", 200), (str(len(body)), 400)):
        connection = oip_server.connect()
        connection.putrequest("POST", INFER)
        for key, value in ((name, length), ("Content-Length", str(len(body))), (name.lower(), second)):
            connection.putheader(key, value)
        connection.endheaders(body)
        response = connection.getresponse()
        answer = response.read()
        assert response.status == status, (second, answer)
        if status == 400:
            assert json.loads(answer) == {"error": f"The header {name.lower()} comes twice, and not alike."}
        connection.close()


def test_paths_that_lead_nowhere(oip_server):
    for path, status in (
        ("/v2/", 404),
        ("/v2/nope", 404),
        ("/v2/models/identity/versions/abc/infer", 404),
        ("/v2/models/identity/versions/99/infer", 404),
        ("/v2/models/identity/versions/" + "9" * 4000 + "/infer", 400),
        ("/v2/models/..%2f..%2fetc/infer", 404),
        ("/v2/models/%00/infer", 404),
        ("/v2/models/" + "m" * 5000 + "/infer", 404),
        ("/v2/health/live", 405),
        ("/v2/models/identity/infer/", 404),
        ("/v2//models/identity/infer", 404),
        ("/v2/models//infer", 404),
        ("/v2/models/identity%2Finfer", 405),
        ("/v2/models/identity/versions/%32/infer", 404),
        ("/v2/models/identity/versions/-1/infer", 404),
        ("/v2/models/identity/versions//infer", 404),
        ("/v2/models/identity/Infer", 404),
    ):
        refused(oip_server, with_data([1, 2, 3, 4]), status, path)
    for path in (
        "/v2/models/ident%69ty/infer",
        "/v2/models/identity/infer?x=1",
        "/v2/models/identity/versions/02/infer",
    ):
        assert oip_server.request("POST", path, with_data([1, 2, 3, 4])).status == 200
    answers_well(oip_server)


def test_control_bodies_that_are_none(oip_server):
    for path, body in (
        ("/v2/repository/models/identity/load", b"["),
        ("/v2/repository/models/identity/load", b'{"parameters": 7}'),
        ("/v2/repository/models/identity/load", b'{"parameters": {"file:../../x": "AA=="}}'),
        ("/v2/repository/index", b'{"ready": "yes"}'),
        ("/v2/logging", b'{"log_file": "/etc/passwd"}'),
        ("/v2/logging", b'{"log_verbose_level": "x"}'),
        ("/v2/trace/setting", b'{"trace_file": "/etc/passwd"}'),
        ("/v2/systemsharedmemory/region/r/register", b"{}"),
        ("/v2/systemsharedmemory/region/r/register", b'{"key": "a", "byte_size": "x"}'),
        ("/v2/systemsharedmemory/region/r/register", b'{"key": "../x", "byte_size": 8}'),
    ):
        answer = oip_server.request("POST", path, body)
        assert answer.status in (400, 403, 501), (path, body, answer.status, answer.body[:300])
        assert set(answer.json) == {"error"}
    assert oip_server.request("POST", "/v2/repository/models/nope/load", b"{}").status in (400, 404, 500)


def test_bodies_damaged_anywhere_are_refused_or_answered(oip_server):
    """A few hundred bodies with bytes changed, cut out or doubled; none is a fault of the server."""
    chance = random.Random(7)
    body, headers = binary()
    connection = oip_server.connect()
    for _ in range(400):
        damaged = bytearray(body)
        at = chance.randrange(len(damaged))
        match chance.randrange(3):
            case 0:
                damaged[at] = chance.randrange(256)
            case 1:
                del damaged[at : at + chance.randrange(1, 9)]
            case _:
                damaged[at:at] = damaged[at : at + chance.randrange(1, 9)]
        connection.request("POST", INFER, bytes(damaged), headers)
        response = connection.getresponse()
        answer = response.read()
        assert response.status in (200, 400, 404, 501), (response.status, bytes(damaged), answer)
        if response.status != 200:
            assert set(json.loads(answer)) == {"error"}
    connection.close()
    answers_well(oip_server)
