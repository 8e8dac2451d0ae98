"""What becomes of real requests is counted, under Triton's names and in the statistics, each where it belongs."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from gated_models import write_gated
from native_server import TIMEOUT_S, Answer, RunningServer
from prometheus_client.parser import text_string_to_metric_families as read_text

INFER = "/v2/models/gated/infer"
LOOKS = 10_000
"""So often is something awaited looked at; a look is a request."""


@pytest.fixture(scope="module")
def server(tf, tmp_path_factory):
    """One request may wait for ``gated``, whose calls run on its thread."""
    root = tmp_path_factory.mktemp("gated")
    write_gated(tf, root / "gated" / "1")
    options = ("--oip-metrics", "--max-queue-rows", 1, "--inline-threshold-ms", 0, "--poll-interval-s", 0)
    with RunningServer(root, *options, "--settle-s", 0) as running:
        running.wait_for("ready")
        yield running
        assert running.process.poll() is None, "the server died"
        assert running.stop() == 0


def asked(gate: Path | str, **parameters: Any) -> dict[str, Any]:
    gates = [{"name": "gate", "shape": [1], "datatype": "BYTES", "data": [str(gate)]}]
    return {"inputs": gates, "parameters": parameters}


def infer(server: RunningServer, gate: Path | str, **parameters: Any) -> Answer:
    return server.request("POST", INFER, asked(gate, **parameters))


def counted(server: RunningServer) -> dict[str, float]:
    """The metrics under Triton's names, failures by their reasons. The parser gives counters an ending of its own."""
    families = read_text(server.get("/metrics", Accept="text/plain").body.decode())
    return {
        sample.labels.get("reason", sample.name.removesuffix("_total")): sample.value
        for family in families
        if family.name.startswith("nv_")
        for sample in family.samples
    }


def wait_for(server: RunningServer, **wanted: float) -> None:
    """Look at the version's present until it is as wanted."""
    for _ in range(LOOKS):
        now = server.metrics()["models"]["gated"]["1"] | {"pending": counted(server)[PENDING]}
        if wanted.items() <= now.items():
            return
    raise AssertionError(f"never {wanted}, but {now}")


PENDING = "nv_inference_pending_request_count"


def test_each_request_counts_for_what_became_of_it(server, tmp_path):
    assert infer(server, "none").status == 200
    before = counted(server)
    gate = tmp_path / "open"
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(infer, server, gate)
        wait_for(server, inFlight=1, pending=0)
        waiting = server.connect()
        waiting.request("POST", INFER, json.dumps(asked(gate)))
        wait_for(server, inFlight=2, pending=1)
        full = infer(server, gate)
        waiting.close()
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
    assert stats["inference_stats"]["success"]["count"] == after["nv_inference_request_success"] == 2
    assert (after[PENDING], stats["execution_count"]) == (0, 3)
