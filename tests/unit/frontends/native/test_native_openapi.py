from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from tensorhost.batching.pace import PaceReport
from tensorhost.core.dtypes import DType
from tensorhost.core.errors import ErrorCode, TensorhostError
from tensorhost.core.version import __version__
from tensorhost.frontends.native import NativeApp
from tensorhost.frontends.native.descriptions import _describe_pace
from tensorhost.frontends.native.openapi import errors
from tensorhost.frontends.native.openapi.document import SCHEMAS, build
from tensorhost.frontends.native.openapi.operations import OPERATIONS
from tensorhost.frontends.native.openapi.options import POSTPROCESSING, PREPROCESSING
from tensorhost.frontends.native.statuses import HTTP_STATUS, error_object
from tensorhost.inference import InferenceEngine
from tensorhost.models import ModelManager
from tensorhost.pipelines import PostprocessingOptions, PreprocessingOptions
from tensorhost.pipelines.options import TokenizeOptions
from tensorhost.runtimes.base import Precision, RuntimeName
from tensorhost.runtimes.contents import Finding, FindingKind
from tensorhost.runtimes.race.verdict import Decision, Entrant, Heat
from tensorhost.server import refusals
from tensorhost.settings import Settings

DOCUMENT = build()
WITH_TOKENIZER = PreprocessingOptions(tokenize=TokenizeOptions())
NEVER_SENT = {ErrorCode.CANCELLED}
OF_NO_ROUTE = {ErrorCode.NOT_FOUND, ErrorCode.METHOD_NOT_ALLOWED}


def _responses() -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (f"{method} {path}", status, response)
        for path, operations in DOCUMENT["paths"].items()
        for method, operation in operations.items()
        for status, response in operation["responses"].items()
    ]


def _validator(schema: dict[str, Any]) -> Draft202012Validator:
    return Draft202012Validator({**schema, "components": DOCUMENT["components"]})


def test_the_document_is_valid_openapi():
    as_sent = json.loads(json.dumps(DOCUMENT))
    validate(as_sent)
    assert as_sent["openapi"].startswith("3.1")
    assert as_sent["info"]["version"] == __version__


def test_the_server_is_where_the_document_is():
    assert [server["url"] for server in DOCUMENT["servers"]] == ["."]


def test_every_route_is_described_and_every_description_has_a_route():
    app = NativeApp(InferenceEngine(ModelManager()), Settings.model_construct())
    served = {("POST", path) for path in app._inference}
    for route in app._routes:
        paths = [operation.path for operation in OPERATIONS if route.pattern.fullmatch(operation.path)]
        assert len(paths) == 1, f"{route.pattern.pattern} is not described once: {paths}"
        served |= {(method, paths[0]) for method in route.methods if method != "HEAD"}
    assert served == {(operation.method, operation.path) for operation in OPERATIONS}
    assert len(OPERATIONS) == len(served)


def test_names_of_operations_are_unique():
    assert len({operation.id for operation in OPERATIONS}) == len(OPERATIONS)


def test_every_error_code_is_described_where_it_is_sent():
    assert errors.MEANINGS.keys() == set(ErrorCode)
    sent = errors.CONNECTION.union(*(operation.errors for operation in OPERATIONS))
    assert sent == set(ErrorCode) - NEVER_SENT - OF_NO_ROUTE


def test_every_code_stands_under_its_status():
    for where, status, response in _responses():
        for name in response.get("content", {}).get("application/json", {}).get("examples", {}):
            if name in ErrorCode.__members__:
                assert str(HTTP_STATUS[ErrorCode(name)]) == status, where


def test_the_connection_answers_as_described():
    assert refusals.STATUS.keys() - OF_NO_ROUTE == errors.CONNECTION
    assert all(HTTP_STATUS[code] == status for code, status in refusals.STATUS.items())


@pytest.mark.parametrize("code", ErrorCode)
def test_every_code_has_an_example_of_the_shape_that_is_sent(code):
    value = errors.examples()[code.value]["value"]
    _validator({"$ref": "#/components/schemas/ErrorAnswer"}).validate(value)
    assert value["error"].keys() == error_object(TensorhostError("x"), "1").keys()
    assert value["error"]["code"] == code.value


def test_headers_of_refusals_are_described():
    expected = {"401": "WWW-Authenticate", "503": "Retry-After"}
    for where, status, response in _responses():
        assert "X-Request-Id" in response["headers"], where
        # A server that is not ready yet does not know when it will be.
        if status in expected and not where.endswith(("/health", "/ready", "/readyz")):
            assert expected[status] in response["headers"], where


def test_operators_routes_name_the_token():
    for operation in OPERATIONS:
        described = DOCUMENT["paths"][operation.path][operation.method.lower()]
        assert ("security" in described) == (ErrorCode.UNAUTHENTICATED in operation.errors)


def test_every_example_fits_its_schema():
    count = 0
    for path, operations in DOCUMENT["paths"].items():
        for operation in operations.values():
            for part in (operation.get("requestBody", {}), *operation["responses"].values()):
                for content in part.get("content", {}).values():
                    for name, shown in content.get("examples", {}).items():
                        value = shown["value"] if "value" in shown else errors.examples()[name]["value"]
                        faults = [fault.message for fault in _validator(content["schema"]).iter_errors(value)]
                        assert not faults, (path, name, faults)
                        count += 1
    assert count > len(ErrorCode)


def test_every_schema_is_used():
    used = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(DOCUMENT)))
    assert used == SCHEMAS.keys()


def _parses(options: Any, raw: object, defaults: Any = None) -> bool:
    try:
        options.from_request(raw, defaults)
    except TensorhostError:
        return False
    return True


# Whole numbers written with a point are whole numbers to JSON Schema and none to the server.
_number = st.integers(-(2**40), 2**40) | st.floats(allow_nan=False, allow_infinity=False).filter(lambda x: x % 1 != 0)
_words = st.sampled_from(["rgb", "bgr", "gray", "bilinear", "nearest", "area", "longest", "max_length", "fit", ""])
_plain = st.none() | st.booleans() | st.integers(-1, 70_000) | _number | _words
_value = _plain | st.lists(_plain, max_size=3)
_inner = st.sampled_from(["width", "height", "method", "maxLength", "padding", "truncation", "file", "surprise"])
_option = _value | st.dictionaries(_inner, _value, max_size=2)


def _key_of(schema: dict[str, Any]) -> st.SearchStrategy[str]:
    return st.sampled_from([*schema["properties"], "entry_point", "top_k", "surprise"])


@given(key=_key_of(PREPROCESSING), value=_option)
@example(key="scale", value=0)
@example(key="std", value=[1, 0.0])
@example(key="std", value=[])
@example(key="tokenize", value={"maxLength": 65_537})
@example(key="tokenize", value={"file": None})
@example(key="resize", value={"width": 16_384, "method": "nearest"})
@example(key="entry_point", value=None)
def test_preprocessing_that_is_described_is_what_is_read(key, value):
    if key == "normalize" and value is False:
        value = True  # false excludes other keys, which no schema of one key shows
    described = _validator(PREPROCESSING).is_valid({key: value})
    assert _parses(PreprocessingOptions, {key: value}, WITH_TOKENIZER) == described


@given(key=_key_of(POSTPROCESSING), value=_option)
@example(key="round", value=15)
@example(key="round", value=16)
@example(key="topK", value=2**31 - 1)
@example(key="topK", value=2**31)
@example(key="top_k", value=None)
def test_postprocessing_that_is_described_is_what_is_read(key, value):
    described = _validator(POSTPROCESSING).is_valid({key: value})
    assert _parses(PostprocessingOptions, {key: value}) == described


@pytest.mark.parametrize(
    ("options", "schema"), [(PreprocessingOptions, PREPROCESSING), (PostprocessingOptions, POSTPROCESSING)]
)
def test_every_option_of_a_request_is_described(options, schema):
    with pytest.raises(TensorhostError) as refused:
        options.from_request({"surprise": 1})
    assert re.findall(r"'(\w+)'", str(refused.value.details["expected"])) == [*schema["properties"]]


def _matches(schema: dict[str, Any], value: Any) -> None:
    """The value fits the schema, and has the keys that it names and no others."""
    _validator(schema).validate(value)
    if "properties" in schema:
        assert value.keys() == schema["properties"].keys()
        for key, inner in schema["properties"].items():
            _matches(inner, value[key])
    if "items" in schema:
        for item in value:
            _matches(schema["items"], item)


def test_a_latency_goal_is_described():
    pace = PaceReport(0.05, 8, 32, 16, reachable=True, spread=1.25, call_s={1: 0.001, 8: 0.004})
    _matches(SCHEMAS["LatencyGoal"], _describe_pace(pace))


def test_a_finding_is_described():
    _matches(SCHEMAS["Finding"], Finding(FindingKind.READS_FILES, "ReadFile", 2, "It reads files.").to_json())


def test_a_race_is_described():
    winner, loser = (Entrant(RuntimeName.OPENVINO, precision) for precision in (Precision.FLOAT32, Precision.BF16))
    heats = (Heat("f", winner, call_s={1: (0.002, 0.001)}), Heat("f", loser, refused="It computes something else."))
    raced = Decision(RuntimeName.TENSORFLOW, routes=((8, winner), (2**31, None)), heats=heats)
    _matches(SCHEMAS["Race"], raced.to_json())
    _matches(SCHEMAS["Race"], Decision(RuntimeName.LITERT, reason="Nobody else is installed.").to_json())


def test_every_dtype_is_described():
    for dtype in DType:
        _matches(SCHEMAS["TensorSpec"], {"name": "x", "dtype": dtype.value, "shape": None})
