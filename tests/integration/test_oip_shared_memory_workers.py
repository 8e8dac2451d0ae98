"""Shared memory and logging of a server with two workers: what one is asked for, both have, and those after them."""

import resource
import uuid
from pathlib import Path

import numpy as np
import psutil
import pytest
import tritonclient.grpc
import tritonclient.http
from format_models import write_tflite
from native_server import RunningServer
from tritonclient.utils import InferenceServerException, shared_memory

ROWS = np.float32([[1, 2, 3], [4, 5, 6]])
SHM = Path("/dev/shm")
STATUS = "/v2/systemsharedmemory/status"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """``double``: x FP32 [-1,3] → y, twice that. Without TensorFlow, so that workers start quickly."""
    root = tmp_path_factory.mktemp("workers") / "models"
    write_tflite(root / "double" / "1" / "model.tflite", 2.0)
    options = (
        "--workers",
        2,
        "--grpc-port",
        -1,
        "--poll-interval-s",
        0,
        "--settle-s",
        0,
        "--no-probe",
        "--no-dashboard",
    )
    with RunningServer(root, *options, "--drain-window-s", 0, "--access-log", "--oip-shared-memory") as running:
        running.wait_for("ready")
        yield running
        assert running.stop() == 0


@pytest.fixture
def client(server):
    client = tritonclient.http.InferenceServerClient(f"127.0.0.1:{server.port}")
    yield client
    client.unregister_system_shared_memory()
    client.close()


@pytest.fixture
def region():
    """A region that begins with ROWS, and its key."""
    key = f"tensorhost_{uuid.uuid4().hex}"
    made = shared_memory.create_shared_memory_region("r", key, 2 * ROWS.nbytes)
    shared_memory.set_shared_memory_region(made, [ROWS])
    yield made, key
    shared_memory.destroy_shared_memory_region(made)


def worker_processes(server):
    children = psutil.Process(server.process.pid).children()
    return [child for child in children if "tensorhost.server.workers.worker" in child.cmdline()]


def from_both(server, path):
    """What each worker answers to GET, asked over a connection of its own."""
    answers = {}
    while len(answers) < 2:
        request_id = uuid.uuid4().hex
        answer = server.request("GET", path, X_Request_Id=request_id)
        answers[server.wait_for("request", request_id=request_id)["worker"]] = answer.json
    return list(answers.values())


def infer_by_both(server, kind, memory, name):
    """Have each worker double what lies at the beginning of a region, and put the result behind it."""
    is_grpc = kind is tritonclient.grpc
    record, path = ("call", "method") if is_grpc else ("request", "path")
    fields = {path: "/inference.GRPCInferenceService/ModelInfer" if is_grpc else "/v2/models/double/infer"}
    answered = set()
    while len(answered) < 2:
        before = calls(server, record, fields)
        with kind.InferenceServerClient(server.grpc_address if is_grpc else f"127.0.0.1:{server.port}") as client:
            x, y = kind.InferInput("x", list(ROWS.shape), "FP32"), kind.InferRequestedOutput("y")
            x.set_shared_memory(name, ROWS.nbytes)
            y.set_shared_memory(name, ROWS.nbytes, ROWS.nbytes)
            client.infer("double", [x], outputs=[y])
        written = shared_memory.get_contents_as_numpy(memory, np.float32, ROWS.shape, ROWS.nbytes)
        assert written.tolist() == (2 * ROWS).tolist()
        shared_memory.set_shared_memory_region(memory, [np.zeros_like(ROWS)], ROWS.nbytes)
        server.wait_for_count(record, len(before) + 1, **fields)
        answered.add(calls(server, record, fields)[-1]["worker"])


def calls(server, event, fields):
    return [record for record in server.records if {"event": event, **fields}.items() <= record.items()]


def test_a_region_is_known_to_all_workers_and_forgotten_by_all(server, client, region):
    memory, key = region
    client.register_system_shared_memory("rows", key, 2 * ROWS.nbytes)
    known = [{"name": "rows", "key": key, "offset": 0, "byte_size": 2 * ROWS.nbytes}]
    assert from_both(server, STATUS) == [known, known]
    for kind in (tritonclient.http, tritonclient.grpc):
        infer_by_both(server, kind, memory, "rows")
    with pytest.raises(InferenceServerException, match="shared memory region 'rows' already in manager") as refused:
        client.register_system_shared_memory("rows", key, 2 * ROWS.nbytes)
    assert refused.value.status() == "400"
    assert from_both(server, STATUS) == [known, known]
    client.unregister_system_shared_memory("rows")
    assert from_both(server, STATUS) == [[], []]


def test_refusals_are_those_of_a_single_process(client, region):
    for name, key, size, offset, status, message in (
        ("r", region[1], 49, 0, "400", "failed to register shared memory region 'r': invalid args"),
        ("r", region[1], 2**63 - 1, 1, "400", "failed to register shared memory region 'r': invalid args"),
        ("r", "tensorhost_absent", 8, 0, "404", "Unable to open"),
        ("r", "foreign", 8, 0, "403", "must begin with 'tensorhost_'"),
        ("r", "tensorhost_/../x", 8, 0, "400", "key"),
        ("r" * 10_000, region[1], 8, 0, "400", "1 to 256"),
    ):
        with pytest.raises(InferenceServerException, match=message) as refused:
            client.register_system_shared_memory(name, key, size, offset)
        assert refused.value.status() == status
    client.unregister_system_shared_memory("r" * 10_000)
    assert client.get_system_shared_memory_status() == []


def test_a_worker_that_takes_anothers_place_has_what_the_other_had(server, client, region):
    memory, key = region
    client.register_system_shared_memory("rows", key, 2 * ROWS.nbytes)
    server.request("POST", "/v2/logging", {"log_verbose_level": 7})
    # Its name means other memory now, in which the sums would be wrong.
    (SHM / key).rename(SHM / f"{key}_moved")
    (SHM / key).write_bytes(bytes(2 * ROWS.nbytes))
    try:
        ready = len(calls(server, "worker ready", {}))
        worker_processes(server)[0].kill()
        server.wait_for_count("worker ready", ready + 1)
        [known, same] = from_both(server, STATUS)
        assert known == same == [{"name": "rows", "key": key, "offset": 0, "byte_size": 2 * ROWS.nbytes}]
        infer_by_both(server, tritonclient.http, memory, "rows")
        assert [said["log_verbose_level"] for said in from_both(server, "/v2/logging")] == [7, 7]
    finally:
        (SHM / f"{key}_moved").rename(SHM / key)
        server.request("POST", "/v2/logging", {"log_verbose_level": 0})
    client.unregister_system_shared_memory("rows")
    assert from_both(server, STATUS) == [[], []]


def test_what_one_worker_cannot_open_is_registered_nowhere(server, client, region):
    assert client.is_server_live()  # over the connection that is used again
    worker = worker_processes(server)[0]
    before = worker.rlimit(resource.RLIMIT_NOFILE)
    worker.rlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        with pytest.raises(InferenceServerException, match="cannot open more files") as refused:
            client.register_system_shared_memory("r", region[1], 8)
    finally:
        worker.rlimit(resource.RLIMIT_NOFILE, before)
    assert refused.value.status() == "503"
    assert from_both(server, STATUS) == [[], []]
    client.register_system_shared_memory("r", region[1], 8)
    assert [len(regions) for regions in from_both(server, STATUS)] == [1, 1]


def test_what_is_logged_changes_in_all_workers(server):
    said = server.request("POST", "/v2/logging", {"log_verbose_level": 2}).json
    assert said["log_verbose_level"] == 2
    assert from_both(server, "/v2/logging") == [said, said]
    back = server.request("POST", "/v2/logging", {"log_verbose_level": 0}).json
    assert from_both(server, "/v2/logging") == [back, back]
    assert server.request("POST", "/v2/logging", {"log_file": "/tmp/stolen"}).status == 400
