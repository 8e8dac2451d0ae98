"""Messages that are too large or compressed, as Triton's client meets them: over each transport, without a model."""

import numpy as np
import pytest
import tritonclient.grpc
from native_server import RunningServer
from oip_clients import Stream, given
from tritonclient.utils import InferenceServerException

LIMIT = 100 * 1024
OVER, FAR_OVER = 150 * 1024, 20 * 2**20
UNKNOWN = "Request for unknown model: 'nope' is not found"


@pytest.fixture(scope="module", params=["native", "grpcio"])
def server(request, tmp_path_factory):
    options = ("--grpc-port", -1, "--grpc-transport", request.param, "--grpc-max-message-bytes", LIMIT)
    with RunningServer(tmp_path_factory.mktemp("empty"), *options) as running:
        running.transport = request.param
        running.wait_for("listening")
        yield running
        assert running.stop() == 0


@pytest.fixture
def client(server):
    with tritonclient.grpc.InferenceServerClient(server.grpc_address) as client:
        yield client


def tensors(size):
    return [given("x", np.zeros(size, np.uint8))]


def infer(client, size, compression=None):
    """What the client is told; every message that is read is one for a model that is not there."""
    with pytest.raises(InferenceServerException) as refused:
        client.infer("nope", tensors(size), compression_algorithm=compression)
    return refused.value.status(), refused.value.message()


def stream(client, size, compression=None):
    with Stream(client, compression_algorithm=compression) as opened:
        opened.send("nope", tensors(1))
        assert opened.next()[1].message() == UNKNOWN
        opened.send("nope", tensors(size))
        error = opened.next()[1]
        return error.status(), error.message()


@pytest.mark.parametrize("ask", [infer, stream])
@pytest.mark.parametrize("compression", [None, "gzip"])
def test_a_message_over_the_limit_is_refused_by_the_name_of_the_setting(client, ask, compression):
    status, text = ask(client, OVER, compression)
    assert status == "StatusCode.RESOURCE_EXHAUSTED"
    assert f"grpc_max_message_bytes allows {LIMIT}" in text
    assert ask(client, LIMIT // 2, compression)[1] == UNKNOWN


def test_the_log_names_the_setting_where_the_client_is_not_told(server, client):
    status, text = infer(client, FAR_OVER)
    assert status == "StatusCode.RESOURCE_EXHAUSTED"
    if server.transport == "native":
        assert "grpc_max_message_bytes" in text
    else:
        assert "Received message larger than max" in text
        said = server.wait_for("a request did not come: its client left, or it is larger than grpc_max_message_bytes")
        assert said["level"] == "warning"
        assert said["method"] == "/inference.GRPCInferenceService/ModelInfer"
        assert said["grpc_max_message_bytes"] == LIMIT
    assert stream(client, FAR_OVER)[0] == "StatusCode.RESOURCE_EXHAUSTED"
    assert infer(client, 1)[1] == UNKNOWN


@pytest.mark.parametrize("compression", ["gzip", "deflate"])
def test_compressed_messages_are_read(server, client, compression):
    assert stream(client, LIMIT // 2, compression)[1] == UNKNOWN
    status, text = infer(client, LIMIT // 2, compression)
    if (server.transport, compression) == ("native", "deflate"):
        assert status == "StatusCode.UNIMPLEMENTED"
        assert "deflate" in text
    else:
        assert text == UNKNOWN
