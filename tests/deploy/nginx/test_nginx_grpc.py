"""gRPC of tensorhost behind the nginx that deploy/nginx configures: real processes, and what real clients see."""

from __future__ import annotations

import grpc
import pytest
from certificates import write_certificate
from nginx_process import SHIPPED, Nginx, free_ports
from tests.integration.native_server import RunningServer

from tensorhost.codecs.protobuf import message_class
from tensorhost.demo import demo_models_path

TIMEOUT_S = 60
QUICK = {"TENSORHOST_PROBE": "false", "WARMUP_ITERATIONS": "1", "TENSORHOST_DRAIN_WINDOW_S": "0"}
PREDICT = "/tensorflow.serving.PredictionService/Predict"
RELOAD = "/tensorflow.serving.ModelService/HandleReloadConfigRequest"
PROFILE = "/tensorflow.ProfilerService/Profile"
UNLOAD = "/inference.GRPCInferenceService/RepositoryModelUnload"
STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"
WATCH = "/grpc.health.v1.Health/Watch"
REQUEST = message_class("tensorflow.serving.PredictRequest")
RESPONSE = message_class("tensorflow.serving.PredictResponse")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return write_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    (root / "wine").symlink_to(demo_models_path() / "wine")
    with (
        RunningServer(root, TENSORHOST_GRPC_PORT="-1", **QUICK) as first,
        RunningServer(root, TENSORHOST_GRPC_PORT="-1", **QUICK) as second,
    ):
        yield [first, second]
        first.process.poll() or first.stop()
        assert second.stop() == 0


@pytest.fixture
def proxied(servers, certificate, tmp_path):
    """The shipped configuration before both servers; its port."""
    port = free_ports(1)[0]
    with start(tmp_path, port, certificate, [grpc_port(one) for one in servers]):
        yield port


def grpc_port(server):
    server.wait_for("ready")
    return int(server.wait_for("listening")["grpc"].rpartition(":")[2])


def start(folder, port, certificate, upstreams):
    text = (SHIPPED / "grpc.conf").read_text()
    for shipped, here in {
        "listen 8443 ssl": f"listen 127.0.0.1:{port} ssl",
        "/etc/nginx/tls/models.example.com.crt": str(certificate[0]),
        "/etc/nginx/tls/models.example.com.key": str(certificate[1]),
        "127.0.0.1:8500": f"127.0.0.1:{upstreams[0]}",
        "127.0.0.1:8510": f"127.0.0.1:{upstreams[1]}",
    }.items():
        assert shipped in text
        text = text.replace(shipped, here)
    return Nginx(folder, {}, {"grpc.conf": text, "tensorhost.conf": ""})


@pytest.fixture
def call(proxied, certificate):
    with channel(proxied, certificate) as opened:
        yield lambda path, message=b"": opened.unary_unary(path)(message, timeout=TIMEOUT_S)


def channel(port, certificate):
    credentials = grpc.ssl_channel_credentials(certificate[0].read_bytes())
    return grpc.secure_channel(f"127.0.0.1:{port}", credentials)


def wine(rows=1):
    request = REQUEST(model_spec={"name": "wine"})
    tensor = request.inputs["features"]
    tensor.dtype = 1
    tensor.float_val.extend([1.0] * (13 * rows))
    for size in (rows, 13):
        tensor.tensor_shape.dim.add(size=size)
    return request.SerializeToString()


def test_predictions_come_through_over_tls(call):
    answer = RESPONSE.FromString(call(PREDICT, wine()))
    assert answer.model_spec.name == "wine"
    assert len(next(iter(answer.outputs.values())).float_val) == 3


def test_statuses_of_tensorhost_come_through_as_they_are(call):
    with pytest.raises(grpc.RpcError) as refused:
        call(PREDICT, REQUEST(model_spec={"name": "nothing"}).SerializeToString())
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    assert refused.value.details() == "Servable not found for request: Latest(nothing)"


def test_health_is_watched_through_it(proxied, certificate):
    with channel(proxied, certificate) as opened:
        stream = opened.unary_stream(WATCH)(b"", timeout=TIMEOUT_S)
        assert next(iter(stream)) == message_class("grpc.health.v1.HealthCheckResponse")(status=1).SerializeToString()
        stream.cancel()


@pytest.mark.parametrize("path", [RELOAD, PROFILE])
def test_control_calls_are_closed(call, path):
    with pytest.raises(grpc.RpcError) as refused:
        call(path)
    assert (refused.value.code(), refused.value.details()) == (
        grpc.StatusCode.PERMISSION_DENIED,
        "Control calls are not open here.",
    )


def test_nobody_is_taken_for_a_caller_on_the_servers_machine(call):
    unload = message_class("inference.RepositoryModelUnloadRequest")(model_name="wine")
    with pytest.raises(grpc.RpcError) as refused:
        call(UNLOAD, unload.SerializeToString())
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert "behind a proxy" in refused.value.details()


def test_messages_that_are_too_large_are_refused_in_grpcs_words(call):
    with pytest.raises(grpc.RpcError) as refused:
        call(PREDICT, b"x" * (65 * 2**20))
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_stream_may_send_more_than_a_message_may_have(proxied, certificate):
    request = message_class("inference.ModelInferRequest")(model_name="nothing")
    request.raw_input_contents.append(bytes(13 * 2**20))
    with channel(proxied, certificate) as opened:
        answers = opened.stream_stream(STREAM)(iter([request.SerializeToString()] * 5), timeout=TIMEOUT_S)
        assert len(list(answers)) == 5


def test_where_nobody_answers_clients_are_told_to_come_again(certificate, tmp_path):
    port, *nobody = free_ports(3)
    with start(tmp_path, port, certificate, nobody), channel(port, certificate) as opened:
        with pytest.raises(grpc.RpcError) as refused:
            opened.unary_unary(PREDICT)(wine(), timeout=TIMEOUT_S)
        assert (refused.value.code(), refused.value.details()) == (grpc.StatusCode.UNAVAILABLE, "No server answered.")


def test_what_one_server_cannot_take_the_other_does(servers, certificate, tmp_path):
    port, gone = free_ports(2)
    with start(tmp_path, port, certificate, [gone, grpc_port(servers[1])]), channel(port, certificate) as opened:
        for _ in range(4):
            opened.unary_unary(PREDICT)(wine(), timeout=TIMEOUT_S)
