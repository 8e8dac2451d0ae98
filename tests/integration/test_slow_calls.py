"""A model that is quick at warm-up and slow for some inputs: its calls leave the event loop, so that nothing else waits
for them; and what becomes of the requests meanwhile is counted, under Triton's names and in the statistics."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import tritonclient.grpc
from gated_models import LEAST_S, write_gated
from native_models import write_constant
from native_server import TIMEOUT_S, Answer, RunningServer
from prometheus_client.parser import text_string_to_metric_families as read_text

INFER = "/v2/models/gated/infer"
PENDING = "nv_inference_pending_request_count"
LOOKS = 1_000
"""So often is something awaited looked at; a look is a request."""


@pytest.fixture(scope="module")
def server(tf, tmp_path_factory):
    """One request may wait for ``gated``, of which one call was slow; ``other`` answers 7."""
    root = tmp_path_factory.mktemp("gated")
    write_gated(tf, root / "gated" / "1")
    write_constant(tf, root / "other" / "1", 7.0)
    options = ("--oip-metrics", "--max-queue-rows", 1, "--inline-threshold-ms", 20, "--grpc-port", -1)
    with RunningServer(root, *options, "--poll-interval-s", 0, "--settle-s", 0) as running:
        running.wait_for("ready")
        signature = described(running)
        assert signature["inlineRows"] == signature["inlineRowsNow"] > 0
        assert infer(running, __file__).status == 200
        yield running
        assert running.process.poll() is None, "the server died"
        assert running.stop() == 0


def asked(gate: Path | str, **parameters: Any) -> dict[str, Any]:
    gates = [{"name": "gate", "shape": [1], "datatype": "BYTES", "data": [str(gate)]}]
    return {"inputs": gates, "parameters": parameters}


def described(server: RunningServer) -> dict[str, Any]:
    return server.get("/models/gated/versions/1").json["signatures"]["serving_default"]


def infer(server: RunningServer, gate: Path | str, **parameters: Any) -> Answer:
    return server.request("POST", INFER, asked(gate, **parameters))


def counted(server: RunningServer) -> dict[str, float]:
    """What Triton's names say of ``gated``, failures by their reasons."""
    families = read_text(server.get("/metrics", Accept="text/plain").body.decode())
    return {
        # The parser gives counters the ending that OpenMetrics wants.
        sample.labels.get("reason", sample.name.removesuffix("_total")): sample.value
        for family in families
        if family.name.startswith("nv_inference")
        for sample in family.samples
        if sample.labels["model"] == "gated"
    }


def wait_for(server: RunningServer, **wanted: float) -> None:
    """Look at the version's present until it is as wanted."""
    for _ in range(LOOKS):
        now = server.metrics()["models"]["gated"]["1"] | {"pending": counted(server)[PENDING]}
        if wanted.items() <= now.items():
            return
    raise AssertionError(f"never {wanted}, but {now}")


def test_after_a_slow_call_the_event_loop_waits_for_none(server, tmp_path):
    left = server.wait_for("calls leave the event loop", model="gated/1", signature="serving_default")
    assert (left["level"], left["inline_rows"]) == ("info", 0)
    assert left["call_ms"] >= LEAST_S * 1000
    signature = described(server)
    assert signature["inlineRows"] > signature["inlineRowsNow"] == 0
    gate = tmp_path / "open"
    with (
        ThreadPoolExecutor(1) as pool,
        tritonclient.grpc.InferenceServerClient(server.grpc_address) as client,
    ):
        held = pool.submit(infer, server, gate)
        wait_for(server, inFlight=1)
        assert server.get("/healthz").status == 200
        assert server.predict("other", [0.0])["predictions"] == [7.0]
        assert client.is_server_ready()
        # All that was answered while the call ran, or this one would have been before.
        assert not held.done()
        gate.touch()
        assert held.result(TIMEOUT_S).status == 200
    assert described(server)["inlineRowsNow"] == 0


def test_each_request_counts_for_what_became_of_it(server, tmp_path):
    before = counted(server)
    [stats_before] = server.get("/v2/models/gated/stats").json["model_stats"]
    gate = tmp_path / "open"
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(infer, server, gate)
        wait_for(server, inFlight=1, pending=0)
        with closing(server.connect()) as waiting:
            waiting.request("POST", INFER, json.dumps(asked(gate)))
            wait_for(server, inFlight=2, pending=1)
            full = infer(server, gate)
        wait_for(server, inFlight=1, pending=0)
        late = infer(server, gate, timeout=1000)
        gate.touch()
        assert running.result(TIMEOUT_S).status == 200
    for shed, reason in ((full, "queue is full"), (late, "deadline passed while")):
        assert shed.status == 503
        assert reason in shed.json["error"]
    assert infer(server, "/").status == 500
    assert server.request("POST", INFER, asked("none") | {"outputs": [{"name": "unknown"}]}).status == 400
    after = counted(server)
    grown = {reason: after[reason] - before[reason] for reason in ("REJECTED", "CANCELED", "BACKEND", "OTHER")}
    assert grown == {"REJECTED": 2, "CANCELED": 1, "BACKEND": 1, "OTHER": 1}
    [stats] = server.get("/v2/models/gated/stats").json["model_stats"]
    assert stats["inference_stats"]["fail"]["count"] == sum(after[reason] for reason in grown) == 5
    assert stats["inference_stats"]["success"]["count"] == after["nv_inference_request_success"]
    assert (after[PENDING], stats["execution_count"] - stats_before["execution_count"]) == (0, 2)
