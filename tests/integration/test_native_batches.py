"""Merging, splitting, deadlines and many clients at once, on a real server."""

from __future__ import annotations

import http.client
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from native_models import BIAS, SLOW_S, WEIGHTS
from native_server import exchange
from prometheus_client.parser import text_string_to_metric_families

CLIENTS = 200


def linear(x):
    return np.asarray(x) @ WEIGHTS + BIAS


def executed_rows(server, model, version="1"):
    """Sizes of the model calls so far: how many had at most so many rows, by bound; and rows in all."""
    families = text_string_to_metric_families(server.get("/metrics", Accept="text/plain").body.decode())
    samples = [
        sample
        for family in families
        if family.name == "tensorhost_batch_rows"
        for sample in family.samples
        if sample.labels.get("model") == model and sample.labels.get("version") == version
    ]
    buckets = {float(s.labels["le"]): s.value for s in samples if s.name.endswith("_bucket")}
    return buckets, next(s.value for s in samples if s.name.endswith("_sum"))


def test_items_are_answered_in_order_each_with_its_own_options(server):
    rows = [[[index, 2 * index, -index]] * (1 + index % 3) for index in range(60)]
    items = [{"inputs": row, "postprocessing": {"round": 0} if index % 2 else None} for index, row in enumerate(rows)]
    for index, result in enumerate(server.batch("linear", items)):
        expected = linear(rows[index])
        np.testing.assert_allclose(
            result["predictions"], np.round(expected) if index % 2 else expected, rtol=1e-5, atol=1e-5
        )
        assert result["modelVersion"] == "1"
        assert result["inferenceTimeMs"] > 0


def test_no_items_are_no_results(server):
    assert server.batch("linear", []) == []


def test_items_of_different_shapes(server):
    items = [{"inputs": [[1.0] * width] * rows} for width in (1, 3, 2) for rows in (2, 1)]
    sums = [result["predictions"] for result in server.batch("shapes", items)]
    assert sums == [[1.0, 1.0], [1.0], [3.0, 3.0], [3.0], [2.0, 2.0], [2.0]]


def test_bad_items_are_told_at_their_place_and_disturb_nobody(server):
    good = {"inputs": [[1, 2, 3]]}
    items = [
        good,
        {"inputs": [[1, 2]]},
        {"inputs": [[1, 2, 3], [4]]},
        17,
        None,
        [[1]],
        {},
        good,
        {"inputs": [[1, 2, 3]], "preprocessing": {"nonsense": 1}},
        {"inputs": [[1, 2, 3]], "modelName": "pair"},
        {"inputs": [["a", "b", "c"]]},
        good,
    ]
    results = server.batch("linear", items)
    codes = [result.get("error", {}).get("code") for result in results]
    assert codes == [
        None,
        "INVALID_INPUT_SHAPE",
        "RAGGED_INPUT",
        "INVALID_REQUEST",
        "INVALID_REQUEST",
        "INVALID_REQUEST",
        "INVALID_REQUEST",
        None,
        "INVALID_PREPROCESSING",
        "INVALID_REQUEST",
        "INVALID_INPUT_TYPE",
        None,
    ]
    for result in results:
        if "error" in result:
            assert set(result["error"]) == {"code", "message", "details", "requestId"}
        else:
            np.testing.assert_allclose(result["predictions"], linear([[1, 2, 3]]), rtol=1e-5)


def test_a_row_that_fails_in_the_model_fails_alone(server):
    items = [{"inputs": [float(value)]} for value in (4, 9, -1, 16, -2, 25)]
    results = server.batch("fragile", items)
    assert [result.get("predictions") for result in results] == [[2.0], [3.0], None, [4.0], None, [5.0]]
    assert [result["error"]["code"] for result in (results[2], results[4])] == ["INVALID_REQUEST"] * 2


def test_items_are_counted_one_by_one(server):
    def counts():
        metrics = server.metrics()["models"]["linear"]["1"]
        return metrics["requestCount"], metrics["errorCount"]

    requests, errors = counts()
    server.batch("linear", [{"inputs": [[1, 2, 3]]}, {"inputs": [[1]]}, {"inputs": [[4, 5, 6]]}])
    assert counts() == (requests + 3, errors + 1)


def test_every_failed_item_is_logged_under_the_request_id(server):
    headers = {"X_Request_Id": "batch-of-two-bad-items"}
    body = {"modelName": "linear", "batch": [{"inputs": [[1]]}, {"inputs": [[1, 2, 3]]}, {}]}
    results = server.request("POST", "/batch-predict", body, **headers).json["results"]
    assert results[0]["error"]["requestId"] == "batch-of-two-bad-items"
    for item in (0, 2):
        server.wait_for("batch item failed", request_id="batch-of-two-bad-items", item=item)


def test_a_batch_of_nothing_but_bad_items_keeps_nobody_waiting(server):
    items = [None] * 20_000
    longest_s = 0.0
    with ThreadPoolExecutor(1) as pool:
        headers = {"X_Request_Id": "twenty-thousand-bad-items"}
        body = {"modelName": "linear", "batch": items}
        asked = pool.submit(server.request, "POST", "/batch-predict", body, **headers)
        turns = 0
        while not asked.done():
            started = time.monotonic()
            assert server.get("/health/live").status == 200
            longest_s = max(longest_s, time.monotonic() - started)
            turns += 1
        results = asked.result().json["results"]
    assert [result["error"]["code"] for result in results] == ["INVALID_REQUEST"] * 20_000
    assert turns > 3
    assert longest_s < 0.5
    # The log has the first of them, and how many more there were.
    server.wait_for("more batch items failed", request_id="twenty-thousand-bad-items", items=19_900)
    logged = [record for record in server.records if record.get("request_id") == "twenty-thousand-bad-items"]
    assert len(logged) == 101


@pytest.mark.parametrize("most", [1, 3, 8, 32])
def test_items_are_merged_into_calls_of_at_most_max_batch_size_rows(server, most):
    before, rows_before = executed_rows(server, "linear")
    calls_before = before[float("inf")]
    results = server.batch("linear", [{"inputs": [[index, 0, 0]]} for index in range(64)], maxBatchSize=most)
    for index, result in enumerate(results):
        np.testing.assert_allclose(result["predictions"], linear([[index, 0, 0]]), rtol=1e-5)
    after, rows_after = executed_rows(server, "linear")
    assert rows_after - rows_before == 64
    calls = after[float("inf")] - calls_before
    assert calls >= 64 / most
    assert calls <= max(2 * 64 / most, 4) if most > 1 else calls == 64
    larger_than_allowed = [bound for bound in after if most <= bound < float("inf")]
    if larger_than_allowed:
        bound = min(larger_than_allowed)
        assert after[bound] - before[bound] == calls


def test_an_item_of_more_rows_than_its_batches_may_have_is_split(server):
    rows = [[index, 1, 2] for index in range(50)]
    (result,) = server.batch("linear", [{"inputs": rows}], maxBatchSize=8)
    np.testing.assert_allclose(result["predictions"], linear(rows), rtol=1e-5)


def test_a_request_of_more_rows_than_max_batch_size_is_split_and_rejoined(server):
    rows = np.random.default_rng(3).normal(size=(333, 3)).astype(np.float32)
    before, _ = executed_rows(server, "linear")
    answer = server.predict("linear", rows.tolist())
    np.testing.assert_allclose(answer["predictions"], linear(rows), rtol=1e-4, atol=1e-5)
    after, _ = executed_rows(server, "linear")
    assert after[32.0] - before[32.0] == after[float("inf")] - before[float("inf")] >= 11


def test_several_outputs_are_rejoined_by_name(server):
    rows = [[float(index), 2.0] for index in range(70)]
    answer = server.predict("pair", {"a": rows, "b": rows})["predictions"]
    assert answer["sum"] == [[2 * index, 4.0] for index in range(70)]
    assert answer["product"] == [[index * index, 4.0] for index in range(70)]


def test_two_hundred_clients_at_once_get_their_own_answers(server):
    start = threading.Barrier(CLIENTS)

    def client(number):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        try:
            connection.connect()
            start.wait(60)
            for turn in range(5):
                row = [[number, turn, number * turn]] * (1 + number % 4)
                answer = exchange(connection, "POST", "/predict", {"modelName": "linear", "inputs": row})
                assert answer.status == 200, answer.body
                np.testing.assert_allclose(answer.json["predictions"], linear(row), rtol=1e-4, atol=1e-3)
        finally:
            connection.close()
        return number

    with ThreadPoolExecutor(CLIENTS) as pool:
        assert sorted(pool.map(client, range(CLIENTS))) == list(range(CLIENTS))


# -- deadlines --------------------------------------------------------------------------------------------------------


def test_a_deadline_that_passes_while_the_model_runs_is_answered_in_time(server):
    started = time.monotonic()
    answer = server.request("POST", "/predict", {"modelName": "slow", "inputs": [1], "timeoutMs": 50})
    took_s = time.monotonic() - started
    assert (answer.status, answer.error["code"]) == (504, "DEADLINE_EXCEEDED")
    assert took_s < SLOW_S
    assert server.predict("slow", [2.0], timeoutMs=30_000)["predictions"] == [2.0]


def test_other_models_are_answered_while_a_slow_one_runs(server):
    done = threading.Event()

    def ask():
        server.predict("slow", [1.0])
        done.set()

    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask)
        while server.metrics()["models"]["slow"]["1"]["inFlight"] == 0:
            pass
        server.predict("linear", [[1, 2, 3]])
        assert not done.is_set()
        asked.result(60)


def test_a_full_queue_refuses_at_once(server):
    def ask(_):
        answer = server.request("POST", "/predict", {"modelName": "slow", "inputs": [1], "timeoutMs": 1500})
        return answer.status, answer.json.get("error", {}).get("code"), answer.headers.get("retry-after")

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(ask, range(12)))
    refused = [answer for answer in answers if answer[0] == 503]
    assert refused
    assert {answer[1] for answer in refused} == {"OVERLOADED"}
    assert all(int(answer[2]) >= 1 for answer in refused)
    assert {answer[0] for answer in answers} <= {200, 503, 504}


def test_deadlines_of_a_batch_are_told_item_by_item(server):
    results = server.batch("slow", [{"inputs": [1.0]}, {"inputs": [2.0]}], timeoutMs=50)
    assert [result["error"]["code"] for result in results] == ["DEADLINE_EXCEEDED"] * 2


def test_a_client_that_leaves_is_forgotten(server):
    connection = server.connect()
    connection.request("POST", "/predict", b'{"modelName":"slow","inputs":[1]}', {"X-Request-Id": "left-early"})
    while server.metrics()["models"]["slow"]["1"]["inFlight"] == 0:
        pass
    connection.close()
    server.wait_for("client disconnected", request_id="left-early")
    assert server.metrics()["models"]["slow"]["1"]["inFlight"] == 0
    assert server.predict("slow", [3.0])["predictions"] == [3.0]
