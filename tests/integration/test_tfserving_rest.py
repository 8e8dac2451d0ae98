"""TensorFlow Serving's REST API, asked of a real server: bodies of each kind with their exact answers."""

from __future__ import annotations

import gzip
import http.client
import json
import math
from typing import Any

import numpy as np
import pytest
from native_server import TIMEOUT_S, Answer, RunningServer, exchange
from serving_models import CLASSES, DTYPES

f32 = np.float32
URL = "/v1/models/"
_LONGEST_MESSAGE = 1100


def ask(server: RunningServer, path: str, body: Any = None, method: str = "POST", **headers: str) -> Answer:
    """A request whose body is JSON text or what becomes it; NaN is written as Python and TensorFlow Serving do."""
    data = body if isinstance(body, bytes | str | None) else json.dumps(body, ensure_ascii=False)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT_S)
    try:
        return exchange(connection, method, path, data.encode() if isinstance(data, str) else data, headers)
    finally:
        connection.close()


def answer(server: RunningServer, path: str, body: Any) -> Any:
    given = ask(server, f"{URL}{path}", body)
    assert given.status == 200, given.body
    assert given.headers["content-type"] == "application/json"
    return given.json


def refusal(server: RunningServer, path: str, body: Any = None, method: str = "POST") -> tuple[int, str]:
    given = ask(server, f"{URL}{path}", body, method)
    assert given.headers["content-type"] == "application/json"
    assert list(given.json) == ["error"]
    return given.status, given.json["error"]


HALF_PLUS_TWO = [
    ({"instances": [1.0, 2.0, 5.0]}, {"predictions": [2.5, 3.0, 4.5]}),
    ({"instances": [[1.0], [2.0]]}, {"predictions": [[2.5], [3.0]]}),
    ({"instances": [{"x": [1]}, {"x": [2]}]}, {"predictions": [[2.5], [3.0]]}),
    ({"instances": [[[1.0]], [[2.0]]]}, {"predictions": [[[2.5]], [[3.0]]]}),
    ({"inputs": [1.0, 2.0, 5.0]}, {"outputs": [2.5, 3.0, 4.5]}),
    ({"inputs": {"x": [[1.0], [2.0]]}}, {"outputs": [[2.5], [3.0]]}),
    ({"inputs": 1.0}, {"outputs": 2.5}),
    ({"inputs": [[1]], "signature_name": "serving_default", "unknown": [None]}, {"outputs": [[2.5]]}),
]


@pytest.mark.parametrize(("body", "expected"), HALF_PLUS_TWO)
@pytest.mark.parametrize("model", ["half_plus_two", "half_plus_two_tf2", "half_plus_two/versions/123"])
def test_predict_in_rows_and_columns(serving_server, model, body, expected):
    assert answer(serving_server, f"{model}:predict", body) == expected


def test_numbers_that_json_does_not_have_go_in_and_come_out(serving_server):
    given = ask(serving_server, f"{URL}half_plus_two:predict", '{"instances": [NaN, Infinity, -Infinity, 1e300]}')
    assert given.body == b'{"predictions": [NaN,Infinity,-Infinity,Infinity]}'


def test_floats_have_the_digits_that_lead_back_to_them(serving_server):
    values = f32([0.1, 1 / 3, 1e-7, 123456.79, 3])
    given = ask(serving_server, f"{URL}dtypes:predict", {"inputs": values.tolist()})
    assert given.body.startswith(b'{"outputs": {"twice": [[0.1,0.1],[0.33333334,0.33333334]')
    assert f32(given.json["outputs"]["y"]).tolist() == values.tolist()
    assert given.body.endswith(b'"y": [0.1,0.33333334,1e-7,123456.79,3.0]}}')


VALUES: dict[str, list[Any]] = {
    "bool": [True, False],
    "int8": [-128, 127],
    "int16": [-32768, 32767],
    "int32": [-(2**31), 2**31 - 1],
    "int64": [-(2**63), 2**63 - 1],
    "uint8": [0, 255],
    "uint16": [0, 65535],
    "uint32": [0, 2**32 - 1],
    "uint64": [0, 2**64 - 1],
    "half": [0.5, -2.0],
    "bfloat16": [0.5, -2.0],
    "float": [0.1, -2.0],
    "double": [0.1, 1e300],
    "string": ["a", "é"],
}


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_type_that_json_can_carry_comes_back(serving_server, dtype):
    if dtype.startswith("complex"):
        body = {"signature_name": dtype, "inputs": [1]}
        expected = 501, f"Conversion of JSON Value: 1 to type: {dtype}"
        assert refusal(serving_server, "dtypes:predict", body) == expected
        return
    values = VALUES[dtype]
    expected_rows = [{"y": value, "twice": [value, value]} for value in values]
    for body in ({"instances": values}, {"instances": [{"x": value} for value in values]}):
        rows = answer(serving_server, "dtypes:predict", {"signature_name": dtype, **body})["predictions"]
        assert rows == expected_rows
    columns = answer(serving_server, "dtypes:predict", {"signature_name": dtype, "inputs": {"x": values}})["outputs"]
    assert columns == {"y": values, "twice": [[value, value] for value in values]}


def test_narrow_integers_keep_their_lowest_bits_as_in_tensorflow_serving(serving_server):
    body = {"signature_name": "uint8", "inputs": [300, -1]}
    assert answer(serving_server, "dtypes:predict", body)["outputs"]["y"] == [44, 255]


def test_strings_and_bytes(serving_server):
    body = {"instances": ["ab", {"b64": "AP8="}, {"text": {"b64": "YQ=="}}["text"]]}
    assert answer(serving_server, "text:predict", body)["predictions"] == [
        {"upper": "AB", "doubled_bytes": {"b64": "YWJhYg=="}, "length": 2},
        {"upper": {"b64": "AP8="}, "doubled_bytes": {"b64": "AP8A/w=="}, "length": 2},
        {"upper": "A", "doubled_bytes": {"b64": "YWE="}, "length": 1},
    ]
    assert refusal(serving_server, "text:predict", {"inputs": [{"b64": "?"}]}) == (400, "Unable to base64 decode")


def test_several_inputs_and_outputs(serving_server):
    rows = [{"a": [1, -2], "n": 3, "word": "x"}, {"word": "y", "n": 4, "a": [0.5, 0.25]}]
    assert answer(serving_server, "mixed:predict", {"instances": rows}) == {
        "predictions": [
            {"sum": 2.0, "flags": [True, False], "word": "x"},
            {"sum": 4.75, "flags": [True, True], "word": "y"},
        ]
    }
    columns = {"a": [[1, -2]], "n": [3], "word": ["x"], "more": {"is": "ignored"}}
    assert answer(serving_server, "mixed:predict", {"inputs": columns}) == {
        "outputs": {"sum": [2.0], "flags": [[True, False]], "word": ["x"]}
    }
    scaled = {"signature_name": "scaled", "inputs": {"a": [[1, 2]], "scale": 3}}
    assert answer(serving_server, "mixed:predict", scaled) == {"outputs": [[3.0, 6.0]]}
    total = {"signature_name": "total", "inputs": [[1, 2], [3, 4]]}
    assert answer(serving_server, "mixed:predict", total) == {
        "outputs": {"total": 10.0, "y": [[-1.0, -2.0], [-3.0, -4.0]]}
    }
    rows = {"signature_name": "total", "instances": [[1, 2], [3, 4]]}
    assert refusal(serving_server, "mixed:predict", rows) == (400, "Tensor name: total has no shape information ")


def test_large_bodies_and_answers_are_what_tensorflow_makes_of_them(serving_server, tf):
    image = np.arange(16 * 4 * 4 * 1000, dtype=f32).reshape(-1, 4, 4, 1)[:4000] / 7
    expected = tf.nn.avg_pool2d(image, 2, 2, "VALID").numpy()
    body = json.dumps({"signature_name": "image", "instances": image.tolist()})
    assert len(body) > 2**20
    given = ask(serving_server, f"{URL}shapes:predict", body, Accept_Encoding="gzip")
    assert given.headers["content-encoding"] == "gzip"
    np.testing.assert_array_equal(f32(json.loads(gzip.decompress(given.body))["predictions"]), expected)


def test_bodies_may_be_compressed(serving_server):
    body = gzip.compress(b'{"instances": [1.0]}')
    given = ask(serving_server, f"{URL}half_plus_two:predict", body, Content_Encoding="gzip")
    assert given.json == {"predictions": [2.5]}
    broken = ask(serving_server, f"{URL}half_plus_two:predict", body[:10], Content_Encoding="gzip")
    assert (broken.status, list(broken.json)) == (400, ["error"])


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("nope:predict", {"instances": [1]}, 404, "Servable not found for request: Latest(nope)"),
        ("nope/versions/1:predict", {"instances": [1]}, 404, "Servable not found for request: Specific(nope, 1)"),
        (
            "half_plus_two/versions/99:predict",
            {"instances": [1]},
            404,
            "Servable not found for request: Specific(half_plus_two, 99)",
        ),
        (
            "half_plus_two/labels/foo:predict",
            {"instances": [1]},
            400,
            "Unrecognized servable version label: foo",
        ),
        (
            "half_plus_two:predict",
            {"signature_name": "foo", "instances": [1]},
            400,
            'Serving signature name: "foo" not found in signature def',
        ),
        ("half_plus_two:predict", "", 400, "JSON Parse error: The document is empty"),
        (
            "half_plus_two:predict",
            '{"instances": [1] } trailing',
            400,
            "JSON Parse error: The document root must not be followed by other values. at offset: 20",
        ),
        ("half_plus_two:predict", {"x": 1}, 400, "Missing 'inputs' or 'instances' key"),
        (
            "half_plus_two:predict",
            {"instances": [[1], [1, 2]]},
            400,
            (
                "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting tensor size: 1 "
                "but got: 2"
            ),
        ),
        (
            "half_plus_two:predict",
            {"instances": ["x"]},
            400,
            (
                "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: JSON Value: \"x\" Type: "
                "String is not of expected type: float"
            ),
        ),
        (
            "half_plus_two/versions/99999999999999999999:predict",
            {},
            400,
            "Failed to convert version: 99999999999999999999 to numeric.",
        ),
        ("half_plus_two:frobnicate", {}, 400, "Malformed request: POST /v1/models/half_plus_two:frobnicate"),
        ("half_plus_two", {}, 400, "Malformed request: POST /v1/models/half_plus_two"),
        (
            "half_plus_two:regress",
            {"signature_name": "foo", "examples": [{"x": 1.0}]},
            400,
            "No signature was found with the name: foo",
        ),
    ],
)
def test_refusals(serving_server, path, body, status, message):
    assert refusal(serving_server, path, body) == (status, message)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_other_methods_are_malformed(serving_server, method):
    expected = 400, f"Malformed request: {method} /v1/models/half_plus_two"
    assert refusal(serving_server, "half_plus_two", method=method) == expected


def test_a_bad_row_gets_its_error_and_disturbs_nobody(serving_server):
    status, message = refusal(serving_server, "no_negatives:predict", {"instances": [1, -1]})
    assert status == 400
    assert "negative" in message
    assert answer(serving_server, "no_negatives:predict", {"instances": [4]}) == {"predictions": [2.0]}


def test_paths_are_matched_in_either_case_and_without_their_query(serving_server):
    for path in ("/V1/Models/half_plus_two:PREDICT", "/v1/models/half_plus_two/VERSIONS/00123:predict?x=1"):
        assert ask(serving_server, path, {"instances": [1.0]}).json == {"predictions": [2.5]}


def test_classify(serving_server):
    body = {"examples": [{"x": [1.0, 2.5]}, {"x": [-1.5, 0.0], "id": 3}]}
    assert answer(serving_server, "examples:classify", body) == {
        "results": [
            [[CLASSES[0], 1.0], [CLASSES[1], 2.5], [CLASSES[2], 3.5]],
            [[CLASSES[0], -1.5], [CLASSES[1], 0.0], [CLASSES[2], -1.5]],
        ]
    }
    body = {"signature_name": "classify_x_to_y", "examples": [{"x": 1.0}, {"x": [2.0]}]}
    assert answer(serving_server, "half_plus_two:classify", body) == {"results": [[["", 2.5]], [["", 3.0]]]}


def test_regress_with_what_examples_have_in_common(serving_server):
    body = {"signature_name": "regress", "context": {"x": [1.0, 0.0]}, "examples": [{"id": 2}, {"x": [4.0, 0.0]}]}
    assert answer(serving_server, "examples:regress", body) == {"results": [3.0, 11.0]}
    body = '{"signature_name": "regress", "examples": [{"x": [NaN, 1.0]}]}'
    assert math.isnan(answer(serving_server, "examples:regress", body)["results"][0])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            {},
            "JSON Value: {} When method is classify, key 'examples' is expected and was not found",
        ),
        ({"examples": 1}, "JSON Value: {\"examples\":1} Expecting 'examples' value to be an list/array"),
        ({"examples": []}, "JSON Value: {\"examples\":[]} 'examples' value is an empty array"),
        ({"examples": [1]}, "Example must be JSON object but got JSON Number"),
        ({"examples": [{"x": [1, 2.5]}]}, "Unexpected element type in feature: x expecting type: int64"),
        ({"examples": [{"x": None}]}, "Feature: x has element with unexpected JSON type: Null"),
        ({"examples": [{"x": [[1]]}]}, "Feature: x has element with unexpected JSON type: Array"),
        ({"examples": [{"x": 2**63}]}, "Feature: x has uint64 element. Only int64 is supported."),
    ],
)
def test_examples_that_are_none(serving_server, body, message):
    assert refusal(serving_server, "examples:classify", body) == (400, message)


def test_status_of_versions(serving_server):
    known = {"version": "123", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    for path in ("half_plus_two", "half_plus_two/versions/123"):
        given = ask(serving_server, URL + path, method="GET")
        assert given.json == {"model_version_status": [known]}
        assert b'"state": "AVAILABLE"' in given.body
    versions = ask(serving_server, f"{URL}two_versions", method="GET").json["model_version_status"]
    assert [version["version"] for version in versions] == ["2", "1"]
    expected = 404, "Could not find any versions of model nope"
    assert refusal(serving_server, "nope", method="GET") == expected
    assert refusal(serving_server, "nope/versions/1", method="GET") == (404, "Could not find version 1 of model nope")
    assert refusal(serving_server, "two_versions/labels/none", method="GET") == (
        400,
        "Unrecognized servable version label: none",
    )


def test_a_label_in_the_path(serving_server):
    labelled = {"label": "old", "version": "1"}
    assert serving_server.request("POST", "/models/two_versions/labels", labelled).status == 200
    assert answer(serving_server, "two_versions/labels/old:predict", {"instances": [[1]]}) == {"predictions": [[2.5]]}
    assert answer(serving_server, "two_versions:predict", {"instances": [[1]]}) == {"predictions": [[3.5]]}
    status = ask(serving_server, f"{URL}two_versions/labels/old", method="GET").json["model_version_status"]
    assert [version["version"] for version in status] == ["1"]


def test_the_list_of_models(serving_server):
    models = ask(serving_server, "/v1/models", method="GET").json["models"]
    assert {"half_plus_two", "tflite", "examples"} <= {model["name"] for model in models}
    assert refusal(serving_server, "versions/1", method="GET") == (400, "Missing model name in request.")
    assert refusal(serving_server, "metadata/metadata", method="GET")[0] == 404


def test_metadata_is_what_the_model_file_says(serving_server, serving_repository, tf):
    from google.protobuf.json_format import MessageToDict
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    file = serving_repository / "two_versions" / "2" / "saved_model.pb"
    definitions = SavedModel.FromString(file.read_bytes()).meta_graphs[0].signature_def
    expected = {
        name: MessageToDict(definition, always_print_fields_with_no_presence=True, preserving_proto_field_name=True)
        for name, definition in definitions.items()
    }
    given = ask(serving_server, f"{URL}two_versions/versions/2/metadata", method="GET").json
    assert given["model_spec"] == {"name": "two_versions", "signature_name": "", "version": "2"}
    assert given["metadata"] == {"signature_def": {"signature_def": expected}}
    assert expected["serving_default"]["inputs"]["x"]["dtype"] == "DT_FLOAT"
    assert expected["serving_default"]["defaults"] == {}
    assert "__saved_model_init_op" in expected
    assert refusal(serving_server, "nope/metadata", method="GET")[0] == 404


def test_preflights_are_answered_by_their_origin(serving_server):
    allowed = ask(serving_server, f"{URL}half_plus_two:predict", method="OPTIONS", Origin="https://pages.example")
    assert (allowed.status, allowed.body) == (200, b"")
    refused = ask(serving_server, f"{URL}half_plus_two:predict", method="OPTIONS")
    assert (refused.status, refused.body) == (400, b"")
    assert "access-control-allow-origin" not in allowed.headers


HOSTILE = [
    b'{"instances":' + b"[" * 500 + b"]" * 500 + b"}",
    b'{"instances":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    b'{"instances": [1, 2',
    b'{"instances": [' + b"[]," * 10_000 + b"[1]]}",
    b'{"instances": [{"x": [1]}, {"x": [' + b"1," * 100_000 + b"1]}]}",
    b'{"signature_name": "' + b"x" * 10_000 + b'", "instances": [1]}',
    b'{"inputs": {"x": {"b64": 1}}}',
    b'{"inputs": "' + b"\xff" * 10 + b'"}',
    b'{"inputs": [1e400]}',
    b'{"inputs": NaN, "a": "' + b'\\"' * 100_000,
    b"\x00\xff" * 100,
    b"null",
]


@pytest.mark.parametrize("body", HOSTILE)
@pytest.mark.parametrize("api", ["predict", "classify"])
def test_hostile_bodies_are_refused_and_the_server_goes_on(serving_server, api, body):
    status, message = refusal(serving_server, f"half_plus_two:{api}", body)
    assert status == 400
    assert len(message) < _LONGEST_MESSAGE
    assert answer(serving_server, "half_plus_two:predict", {"instances": [1.0]}) == {"predictions": [2.5]}
