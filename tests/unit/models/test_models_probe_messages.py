"""Messages between a server and the child that tries models: both ways, and everything a lying child could send."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_fakes import FakeRuntime, signature

from tensorhost.core.errors import InternalError, LoadTimeoutError, ModelFailedError, OutOfMemoryError, TensorhostError
from tensorhost.models.probe_messages import Examined, Failed, FirstRuns, Passed, ProbeRequest, Stage, parse_message
from tensorhost.models.probe_trial import ModelTooLargeError, ModelTooSlowError
from tensorhost.models.race_messages import HeatMessage, Raced, RaceOrder
from tensorhost.runtimes import Contents, Finding, FindingKind, LoadOptions
from tensorhost.runtimes.base import Precision, RuntimeName, Trust
from tensorhost.runtimes.engine_files import EngineFile
from tensorhost.runtimes.race.verdict import Entrant, Heat

OPTIONS = LoadOptions(
    intra_op_threads=1,
    inter_op_threads=2,
    modules=("a", "b.c"),
    model_modules=("d",),
    op_libraries=(Path("/l/one.so"), Path("two.so")),
    allow_lambda=True,
    trust=Trust.STRICT,
    graph_inputs={"x": "x:0"},
    graph_outputs={"y": "y:0"},
    dequantize=True,
    remapping=False,
    xla=True,
    runtime=RuntimeName.OPENVINO,
    precision=Precision.BF16,
    tags=("serve", "gpu"),
    session_config="inter_op_parallelism_threads: 3\n",
    gpu_memory_fraction=0.5,
)


def passed_message(**changes):
    contents = Contents({"MatMul": 1}, 3, (Finding(FindingKind.READS_FILES, "ReadFile", 2, "It reads."),))
    runtime = FakeRuntime(lambda x: x, signature((None, 2)), signature(None, name="other"))
    message = Passed.of(runtime, contents, loaded_bytes=5, load_s=0.5, run_s=1.5)
    return json.loads(message.to_line()) | changes


def test_the_options_above_are_none_of_the_defaults():
    for field in dataclasses.fields(LoadOptions):
        assert getattr(OPTIONS, field.name) != getattr(LoadOptions(), field.name), field.name


@pytest.mark.parametrize("options", [OPTIONS, LoadOptions()])
@pytest.mark.parametrize(
    "runs", [None, FirstRuns(Path("/m"), "e.json", 7, batching=False), FirstRuns(Path("/m"), records=True)]
)
def test_a_request_arrives_as_it_was_sent(options, runs):
    request = ProbeRequest(Path("/m/1 ü\n2"), options, runs)
    line = request.to_line()
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert ProbeRequest.from_line(line) == request


@pytest.mark.parametrize("skip", [(), (("serving_default", "openvino bf16"), ("a", "litert"))])
def test_a_race_is_ordered_as_it_was_sent(skip):
    runs = FirstRuns(Path("/m"), ranges={"x": (0.0, 255.0)})
    request = ProbeRequest(Path("/m"), OPTIONS, runs, RaceOrder(Path("/kept/.partial-1"), 60.0, skip))
    assert ProbeRequest.from_line(request.to_line()) == request


HEAT = Heat(
    "serving_default",
    Entrant(RuntimeName.OPENVINO, Precision.BF16),
    EngineFile("openvino-bf16-0.xml", {"x": "x:0"}, {"y": "output_0:0"}),
    {1: (0.25, 0.5), 32: (2.0, 1.0)},
    1e-6,
    3.0,
    3,
)


@pytest.mark.parametrize(
    "heat", [HEAT, Heat("s", HEAT.entrant, refused="No."), dataclasses.replace(HEAT, scale=0.0, transient=True)]
)
def test_a_heat_arrives_as_it_was_run(heat):
    message = parse_message(HeatMessage.of(heat).to_line())
    assert isinstance(message, HeatMessage)
    assert message.heat() == heat


def test_the_end_of_a_race_arrives():
    assert isinstance(parse_message(Raced().to_line()), Raced)


@pytest.mark.parametrize(
    "changes",
    [
        {"runtime": "python"},
        {"precision": "int4"},
        {"engine": {"file": "../x.xml", "inputs": {}, "outputs": {}}},
        {"engine": {"file": "/etc/x.xml", "inputs": {}, "outputs": {}}},
        {"engine": {"file": "x.so", "inputs": {}, "outputs": {}}},
        {"call_s": [[1, 0.0, 1.0]]},
        {"call_s": [[1, -1.0, 1.0]]},
        {"call_s": [[1, 1.0, "x"]]},
        {"call_s": [[1, 1.0, 1.0]] * 65},
        {"difference": float("nan")},
        {"signature": "x" * 4001},
        {"call_s": []},
        {"engine": None},
        {"unknown": 1},
    ],
)
def test_a_heat_that_cannot_be_is_refused(changes):
    line = json.loads(HeatMessage.of(HEAT).to_line()) | changes
    with pytest.raises(InternalError):
        parse_message(json.dumps(line).encode())


def test_a_pass_arrives_as_it_was_sent():
    message = parse_message(json.dumps(passed_message()).encode())
    assert isinstance(message, Passed)
    assert [each.signature() for each in message.signatures] == [signature((None, 2)), signature(None, name="other")]
    assert message.contents.contents().findings == (Finding(FindingKind.READS_FILES, "ReadFile", 2, "It reads."),)


def test_of_many_findings_the_worst_arrive_and_how_many_there_are():
    findings = [Finding(FindingKind.READS_FILES, f"ReadFile{number}", 2, "It reads.") for number in range(10_000)]
    message = parse_message(Examined.of(findings).to_line())
    assert (message.count, message.worst) == (10_000, Examined.of(findings[:20]).worst)


@pytest.mark.parametrize("error", [ModelFailedError("No."), OutOfMemoryError("No.", details={"a": 1}, log_detail="b")])
def test_a_failure_arrives_as_it_was_sent(error):
    message = parse_message(Failed.of(error).to_line())
    arrived = message.error()
    assert type(arrived) is type(error)
    assert (arrived.message, arrived.details, arrived.log_detail) == (error.message, error.details, error.log_detail)


@pytest.mark.parametrize(
    ("kind", "known"), [(ModelTooLargeError, OutOfMemoryError), (ModelTooSlowError, LoadTimeoutError)]
)
def test_a_failure_of_a_kind_that_only_the_sender_knows_arrives_as_what_it_is_made_of(kind, known):
    assert type(parse_message(Failed.of(kind("No.")).to_line()).error()) is known


def test_a_failure_too_long_to_send_is_cut():
    error = ModelFailedError("m" * 10_000, details={"a": "b" * 100_000}, log_detail="l" * 100_000)
    arrived = parse_message(Failed.of(error).to_line()).error()
    assert (len(arrived.message), arrived.details, len(arrived.log_detail)) == (4000, {}, 16_000)


@pytest.mark.parametrize("details", ["[1]", "{", "[" * 60_000, '"x"', "NaN"])
def test_details_that_are_no_object_are_dropped(details):
    assert Failed(kind="ModelFailedError", message="No.", details=details).error().details == {}


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        (Stage(doing="loading"), "when it was loaded"),
        (Stage(doing="examining"), "while its files were examined"),
        (Stage(doing="unloading"), "when it was unloaded"),
        (Stage(doing="running", signature="s"), "when signature 's' first ran with no inputs"),
        (Stage(doing="running", signature="s", inputs={"a": (), "b": (2, 3)}), "first ran with 'a' [], 'b' [2, 3]"),
    ],
)
def test_a_stage_in_words(stage, words):
    assert parse_message(stage.to_line()).words().endswith(words)


def test_a_stage_in_words_is_short():
    inputs = {f"{number}{'i' * 3000}": (1,) for number in range(50)}
    assert len(Stage(doing="running", signature="s" * 4000, inputs=inputs).words()) < 800


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "other"},
        {"type": None},
        {"weights_bytes": -1},
        {"weights_bytes": 2**80},
        {"weights_bytes": "7"},
        {"weights_bytes": 1.5},
        {"load_s": -0.1},
        {"load_s": float("inf")},
        {"load_s": float("nan")},
        {"runtime": 7},
        {"runtime": "x" * 5000},
        {"refused": ["x"]},
        {"refused": {"x": None}},
        {"signatures": {}},
        {"signatures": [{"name": "s"}]},
        {"contents": None},
        {"contents": {"operations": {"x": -1}, "parameters": None, "findings": []}},
        {"contents": {"operations": {}, "parameters": None, "findings": [{"kind": "nice", "subject": "x"}]}},
        {"operations": {}},
        {"refused": {str(number): "" for number in range(10_001)}},
    ],
)
def test_what_does_not_fit_is_no_message(changes):
    parse_message(json.dumps(passed_message()).encode())
    with pytest.raises(InternalError):
        parse_message(json.dumps(passed_message(**changes)).encode())


@pytest.mark.parametrize("dtype", ["resource", "float", 1, None])
def test_only_known_dtypes_pass(dtype):
    changed = passed_message()
    changed["signatures"][0]["inputs"]["x"]["dtype"] = dtype
    with pytest.raises(InternalError):
        parse_message(json.dumps(changed).encode())


@given(st.binary(max_size=200))
def test_noise_is_no_message(line):
    with pytest.raises(InternalError):
        parse_message(line)


@pytest.mark.parametrize("line", [b"[" * 100_000, b'{"type":' * 100_000, b"\xff", b"null", b"1e999"])
def test_hostile_json_is_no_message(line):
    with pytest.raises(InternalError):
        parse_message(line)


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_kind_and_message_make_one_of_our_errors(kind, message):
    assert isinstance(Failed(kind=kind, message=message).error(), TensorhostError)
