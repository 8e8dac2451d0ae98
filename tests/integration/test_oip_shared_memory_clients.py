"""Tensors through shared memory, by Triton's clients and their own way of making it, against a server process.

One of several workers is in ``test_oip_shared_memory_workers.py``.
"""

import base64
import uuid

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException, serialize_byte_tensor, shared_memory

ROWS = np.arange(16, dtype=np.int32).reshape(1, 16)


@pytest.fixture(params=["http", "grpc"])
def kind(request):
    return {"http": tritonclient.http, "grpc": tritonclient.grpc}[request.param]


@pytest.fixture
def client(oip_server, kind):
    address = oip_server.grpc_address if kind is tritonclient.grpc else f"127.0.0.1:{oip_server.port}"
    client = kind.InferenceServerClient(address)
    yield client
    client.unregister_system_shared_memory()
    client.close()


@pytest.fixture
def region():
    """Makes regions of shared memory that go when the test ends; the key has the prefix that the server wants."""
    made = []

    def make(size, prefix="tensorhost_"):
        key = f"{prefix}{uuid.uuid4().hex}"
        made.append(shared_memory.create_shared_memory_region("r", key, size))
        return made[-1], key

    yield make
    for handle in made:
        shared_memory.destroy_shared_memory_region(handle)


def names(status):
    return sorted(each["name"] for each in status) if isinstance(status, list) else sorted(status.regions)


def shared_input(kind, name, array, region, offset=0, size=None):
    given = kind.InferInput(name, list(array.shape), "INT32")
    given.set_shared_memory(region, array.nbytes if size is None else size, offset)
    return given


def shared_output(kind, name, region, size, offset=0):
    wanted = kind.InferRequestedOutput(name)
    wanted.set_shared_memory(region, size, offset)
    return wanted


def test_tensors_go_in_and_out(client, kind, region):
    memory, key = region(256)
    shared_memory.set_shared_memory_region(memory, [ROWS, ROWS * 2])
    client.register_system_shared_memory("both", f"/{key}", 256)
    assert names(client.get_system_shared_memory_status()) == ["both"]
    result = client.infer(
        "simple",
        [shared_input(kind, "INPUT0", ROWS, "both"), shared_input(kind, "INPUT1", ROWS, "both", 64)],
        outputs=[shared_output(kind, "OUTPUT0", "both", 64, 128), kind.InferRequestedOutput("OUTPUT1")],
    )
    sums = shared_memory.get_contents_as_numpy(memory, np.int32, [1, 16], 128)
    assert sums.tolist() == (ROWS * 3).tolist()
    assert result.as_numpy("OUTPUT1").tolist() == (-ROWS).tolist()
    assert shared_memory.get_contents_as_numpy(memory, np.int32, [1, 16], 0).tolist() == ROWS.tolist()
    client.unregister_system_shared_memory("both")
    assert names(client.get_system_shared_memory_status()) == []


def test_strings_go_in_and_out(client, kind, region):
    memory, key = region(256)
    texts = np.array(["ä", ""], dtype=object)
    size = len(serialize_byte_tensor(texts).item())
    shared_memory.set_shared_memory_region(memory, [serialize_byte_tensor(texts)])
    client.register_system_shared_memory("texts", key, 256)
    given = kind.InferInput("text", [2], "BYTES")
    given.set_shared_memory("texts", size)
    client.infer("text", [given], outputs=[shared_output(kind, "said", "texts", 128, 128)])
    said = shared_memory.get_contents_as_numpy(memory, np.object_, [2], 128)
    assert said.tolist() == ["hello ä".encode(), b"hello "]


def test_what_does_not_fit_is_refused_and_nothing_is_written(client, kind, region):
    memory, key = region(256)
    before = np.full((1, 64), 7, np.int32)
    shared_memory.set_shared_memory_region(memory, [before])
    client.register_system_shared_memory("part", key, 128, 64)

    def ask(first, *outputs):
        client.infer("simple", [first, shared_input(kind, "INPUT1", ROWS, "part")], outputs=list(outputs) or None)

    good = shared_input(kind, "INPUT0", ROWS, "part")
    for first, outputs, message in (
        (shared_input(kind, "INPUT0", ROWS, "part", 65), (), "Invalid offset"),
        (shared_input(kind, "INPUT0", ROWS, "part", 0, 2**40), (), "mismatch|Invalid offset"),
        (shared_input(kind, "INPUT0", ROWS, "part", 0, 60), (), "mismatch"),
        (shared_input(kind, "INPUT0", ROWS, "other"), (), "Unable to find shared memory region: 'other'"),
        (good, (shared_output(kind, "OUTPUT0", "part", 63),), "64"),
        (good, (shared_output(kind, "OUTPUT0", "part", 64, 65),), "Invalid offset"),
        (good, (shared_output(kind, "OUTPUT0", "other", 64),), "Unable to find"),
    ):
        with pytest.raises(InferenceServerException, match=message):
            ask(first, *outputs)
    assert shared_memory.get_contents_as_numpy(memory, np.int32, [1, 64], 0).tolist() == before.tolist()
    ask(good)


def test_registering_is_checked(client, region):
    _, key = region(64)
    _, foreign = region(64, prefix="foreign_")
    for name, wrong, size, offset, message in (
        ("r", key, 65, 0, "failed to register shared memory region 'r': invalid args"),
        ("r", key, 8, 64, "failed to register shared memory region 'r': invalid args"),
        ("r", key, 0, 8, "failed to register shared memory region 'r': invalid args"),
        ("r" * 10_000, key, 8, 0, "1 to 256"),
        ("r", "tensorhost_absent", 8, 0, "Unable to open"),
        ("r", foreign, 8, 0, "must begin with 'tensorhost_'"),
        ("r", "../../etc/passwd", 8, 0, "key"),
    ):
        with pytest.raises(InferenceServerException, match=message):
            client.register_system_shared_memory(name, wrong, size, offset)
    client.unregister_system_shared_memory("r" * 10_000)
    client.register_system_shared_memory("r", key, 64)
    for size in (64, 32):
        with pytest.raises(InferenceServerException, match="shared memory region 'r' already in manager") as refused:
            client.register_system_shared_memory("r", key, size)
        assert refused.value.status() in ("400", "StatusCode.ALREADY_EXISTS")
    client.register_system_shared_memory("also r", key, 32)
    assert names(client.get_system_shared_memory_status()) == ["also r", "r"]
    client.unregister_system_shared_memory()
    assert names(client.get_system_shared_memory_status()) == []


def test_outputs_are_not_written_over_each_other(client, kind, region):
    memory, key = region(128)
    client.register_system_shared_memory("out", key, 128)
    inputs = [kind.InferInput(name, [1, 16], "INT32") for name in ("INPUT0", "INPUT1")]
    for each in inputs:
        each.set_data_from_numpy(ROWS)
    first = shared_output(kind, "OUTPUT0", "out", 64)
    with pytest.raises(InferenceServerException, match="same bytes of shared memory"):
        client.infer("simple", inputs, outputs=[first, shared_output(kind, "OUTPUT1", "out", 64, 60)])
    assert not shared_memory.get_contents_as_numpy(memory, np.int32, [32], 0).any()
    client.infer("simple", inputs, outputs=[first, shared_output(kind, "OUTPUT1", "out", 64, 64)])
    assert shared_memory.get_contents_as_numpy(memory, np.int32, [32], 0).tolist() == [*(2 * ROWS[0]), *([0] * 16)]


def test_cuda_memory_is_not_supported(client):
    with pytest.raises(InferenceServerException, match="not supported"):
        client.register_cuda_shared_memory("r", base64.b64encode(b"handle"), 0, 64)


def test_off_unless_the_settings_have_it(server):
    client = tritonclient.http.InferenceServerClient(f"127.0.0.1:{server.port}")
    with pytest.raises(InferenceServerException, match="oip_shared_memory") as refused:
        client.register_system_shared_memory("r", "tensorhost_r", 8)
    assert refused.value.status() == "501"
    client.close()
