"""Triton's perf_analyzer measures a real server; its report has the server's side, which agrees with the client's."""

from __future__ import annotations

import csv
import json
import re

import pytest
from tests.clients.perf_analyzer import ONCE, WINDOWS, Level, measure, report, run

HTTP, GRPC = "http", "grpc"
MOST_AT_ONCE = 4


@pytest.fixture
def at(server):
    """The options that lead to the server over a wire."""

    def options(wire: str) -> tuple[str, ...]:
        return ("-u", server.grpc_address if wire == GRPC else f"127.0.0.1:{server.port}", "-i", wire)

    return options


@pytest.fixture(params=[HTTP, GRPC])
def there(request, at) -> tuple[str, ...]:
    """``at`` each wire."""
    return at(request.param)


def agrees(level: Level, *, rows: int = 1) -> None:
    """Whether the two sides of a report tell of the same load."""
    # The server's counters are read while requests are made: some are seen by one side only.
    assert level.requests / 3 <= level.successes <= level.requests * 3
    assert level.inferences == level.successes * rows
    # A call is counted before the requests in it are.
    assert 1 <= level.executions <= level.successes + MOST_AT_ONCE
    assert level.latency > 0
    parts = dict(level.server)
    total = parts.pop("total")
    assert set(parts) == {"overhead", "queue", "compute input", "compute infer", "compute output"}
    assert parts["compute infer"] > 0
    # Each is rounded by itself.
    assert abs(total - sum(parts.values())) <= len(parts)


def test_one_request_after_another(there):
    (level,) = measure("-m", "identity", *there, *ONCE)
    assert level.requests == 500
    agrees(level)


def test_rows_and_requests_in_flight(there):
    (level,) = measure("-m", "identity", *there, *WINDOWS, "-b", 8, "--async", "--concurrency-range", MOST_AT_ONCE)
    agrees(level, rows=8)


def test_a_stream(at):
    (level,) = measure(
        "-m", "identity", *at(GRPC), *WINDOWS, "--async", "--streaming", "--concurrency-range", MOST_AT_ONCE
    )
    agrees(level)


def test_levels_of_load(at):
    levels = measure("-m", "identity", *at(GRPC), *WINDOWS, "--concurrency-range", "1:3:2")
    assert len(levels) == 2
    for level in levels:
        agrees(level)


def test_rates_of_requests(at):
    (level,) = measure("-m", "identity", *at(HTTP), *WINDOWS, "--request-rate-range", 100)
    agrees(level)


def test_the_most_load_within_a_latency_is_searched(at):
    levels = measure(
        "-m", "identity", *at(HTTP), *WINDOWS, "--concurrency-range", "1:2:1", "--binary-search", "-l", 10000
    )
    assert len(levels) == 2


def test_texts(at):
    (level,) = measure("-m", "text", *at(GRPC), *WINDOWS, "-b", 3, "--string-length", 20)
    agrees(level, rows=3)


def test_random_data_of_every_datatype(at):
    (level,) = measure("-m", "typed", *at(HTTP), *WINDOWS)
    agrees(level)


def test_tensors_as_json(at):
    as_json = ("--input-tensor-format", "json", "--output-tensor-format", "json")
    (level,) = measure("-m", "text", *at(HTTP), *WINDOWS, *as_json)
    agrees(level)


def test_images_of_a_size_that_the_model_leaves_open(at):
    (level,) = measure("-m", "image", *at(HTTP), *WINDOWS, "-b", 2, "--shape", "image:9,8,3", "--input-data", "zero")
    agrees(level, rows=2)


@pytest.mark.parametrize(("wire", "model"), [(HTTP, "identity"), (GRPC, "text")])
def test_tensors_in_shared_memory(at, wire, model):
    shared = ("--shared-memory", "system", "--output-shared-memory-size", 1024)
    (level,) = measure("-m", model, *at(wire), *WINDOWS, *shared, "-b", 4)
    agrees(level, rows=4)


@pytest.mark.parametrize(
    ("model", "given", "answered"),
    [
        ("identity", {"x": [1.0, 2.0, 3.0, 4.0]}, {"y": [2.0, 4.0, 6.0, 8.0]}),
        ("text", {"text": ["abc"]}, {"said": ["hello abc"], "length": [3]}),
    ],
)
def test_answers_are_compared_with_those_expected(at, tmp_path, model, given, answered):
    data = tmp_path / "data.json"
    data.write_text(json.dumps({"data": [given], "validation_data": [answered]}))
    asked = ("-m", model, *at(HTTP), *WINDOWS, "--input-data", data)
    agrees(*measure(*asked))
    other = {"x": [1.0, 2.0, 3.0, 5.0]} if model == "identity" else {"text": ["abd"]}
    data.write_text(json.dumps({"data": [other], "validation_data": [answered]}))
    refused = run(*asked)
    assert refused.returncode != 0
    assert "Output doesn't match expected output" in refused.stdout


def test_the_report_as_csv_beside_the_servers_metrics(server, at, tmp_path):
    table = tmp_path / "report.csv"
    metrics = ("--collect-metrics", "--metrics-url", f"127.0.0.1:{server.port}/metrics")
    report("-m", "identity", *at(HTTP), *WINDOWS, "-f", table, "--verbose-csv", *metrics)
    (row,) = csv.DictReader(table.read_text().splitlines())
    for column in ("Inferences/Second", "Server Compute Infer", "Network+Server Send/Recv", "p99 latency"):
        assert float(row[column]) > 0, column
    for part in ("Queue", "Compute Input", "Compute Output"):
        assert float(row[f"Server {part}"]) >= 0


def test_parameters_of_requests(at):
    urgent = ("--request-parameter", "priority:1:int", "--request-parameter", "mine:yes:string")
    (level,) = measure("-m", "identity", *at(GRPC), *WINDOWS, *urgent)
    agrees(level)


def test_as_a_client_of_tensorflow_serving(at):
    text = report("-m", "identity", "--service-kind", "tfserving", *at(GRPC), *WINDOWS, "-b", 2)
    assert re.search(r"Request count: [1-9]", text)
    assert "Avg gRPC time: " in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("-m", "nope"), "Request for unknown model: 'nope' is not found"),
        (("-m", "identity", "-x", "9"), "Request for unknown model: 'identity' version 9 is not found"),
        (("-m", "identity", "-b", "33"), "inference request batch-size must be <= 32 for 'identity'"),
        (("-m", "image"), "input image contains dynamic shape, provide shapes to send along with the request"),
        (("-m", "identity", "--trace-level", "TIMESTAMPS"), "tracing is set where the server is started"),
    ],
)
def test_why_nothing_is_measured(there, options, message):
    refused = run(*options, *there, *WINDOWS)
    assert refused.returncode != 0
    assert message in refused.stdout
