"""gRPC as a server process serves it: health from the start to the stop, addresses, several workers."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import threading

import grpc
import psutil
import pytest
from native_models import write_constant
from native_server import COMMAND, TIMEOUT_S, RunningServer

from tensorhost.codecs.protobuf import message_class

QUICK = ("--no-probe", "--settle-s", 0, "--poll-interval-s", 0, "--grpc-port", -1, "--inline-threshold-ms", 0)
BEYOND, SLOW_S = 1000.0, 0.3
PREDICT = "/tensorflow.serving.PredictionService/Predict"
PredictRequest = message_class("tensorflow.serving.PredictRequest")
PredictResponse = message_class("tensorflow.serving.PredictResponse")
HealthRequest = message_class("grpc.health.v1.HealthCheckRequest")
HealthResponse = message_class("grpc.health.v1.HealthCheckResponse")


@pytest.fixture(scope="module")
def models(tf, tmp_path_factory):
    """A repository with ``one``, which answers 1, and ``slow``, which takes as long as its input says."""
    root = tmp_path_factory.mktemp("grpc") / "models"
    write_constant(tf, root / "one" / "1", 1.0)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def busy(x):
        # Far from what warm-up feeds, which is to take no time.
        until = tf.timestamp() + tf.cast(tf.clip_by_value(tf.reduce_max(x) - BEYOND, 0.0, 10.0), tf.float64)
        spins = tf.while_loop(lambda _: tf.timestamp() < until, lambda spun: (spun + 1.0,), (tf.constant(0.0),))[0]
        return {"y": x * 0.0 + spins * 0.0}

    tf.saved_model.save(tf.Module(), str(root / "slow" / "1"), signatures={"serving_default": busy})
    return root


@contextlib.contextmanager
def channel(address):
    with grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as opened:
        yield opened


def address_of(server):
    return server.wait_for("listening")["grpc"].partition(",")[0]


def predict(channel, model="one", **options):
    """Begin one prediction; a future of the response's first output."""
    request = PredictRequest()
    request.model_spec.name = model
    tensor = request.inputs["x"]
    tensor.dtype = 1
    tensor.tensor_shape.dim.add(size=1)
    tensor.float_val.append(BEYOND + SLOW_S)
    ask = channel.unary_unary(PREDICT, PredictRequest.SerializeToString, PredictResponse.FromString)
    return ask.future(request, **({"timeout": TIMEOUT_S} | options))


def answer(call):
    return call.result().outputs["y"].float_val[0]


def health(channel, service=""):
    ask = channel.unary_unary(
        "/grpc.health.v1.Health/Check", HealthRequest.SerializeToString, HealthResponse.FromString
    )
    status = ask(HealthRequest(service=service), timeout=TIMEOUT_S, wait_for_ready=True).status
    return HealthResponse.ServingStatus.Name(status)


class Watch:
    """What the health service tells one watcher, as it comes."""

    def __init__(self, channel, service=""):
        watch = channel.unary_stream(
            "/grpc.health.v1.Health/Watch", HealthRequest.SerializeToString, HealthResponse.FromString
        )
        self._stream = watch(HealthRequest(service=service), timeout=TIMEOUT_S, wait_for_ready=True)

    def until(self, name):
        for response in self._stream:
            if HealthResponse.ServingStatus.Name(response.status) == name:
                return
        raise AssertionError("the stream ended")

    def end(self):
        """How the stream ends."""
        with pytest.raises(grpc.RpcError) as raised:
            list(self._stream)
        return raised.value.code()


@pytest.mark.parametrize("transport", ["native", "grpcio"])
def test_from_loading_to_the_stop_nothing_that_was_accepted_is_lost(models, transport):
    flags = ("--grpc-transport", transport, "--drain-window-s", 1)
    with RunningServer(models, *QUICK, *flags) as server, channel(address_of(server)) as asked:
        assert server.wait_for("listening")["grpc_transport"] == f"{transport}: grpc_transport says so"
        watch = Watch(asked)
        watch.until("SERVING")
        assert server.wait_for("ready")
        assert health(asked, "one") == health(asked, "tensorflow.serving.PredictionService") == "SERVING"
        assert answer(predict(asked)) == 1.0
        server.process.send_signal(signal.SIGTERM)
        watch.until("NOT_SERVING")
        # In the drain window calls are answered, and one that is under way when it ends is finished.
        assert answer(predict(asked)) == 1.0
        late = [predict(asked, "slow")]
        server.wait_for("stopping")
        while not late[-1].done():  # one after the other until the first is refused
            before = late[-1]
            before.exception()
            if before.code() is grpc.StatusCode.OK:
                late.append(predict(asked, "slow"))
        assert len(late) >= 1 / SLOW_S
        assert late[-1].code() is grpc.StatusCode.UNAVAILABLE
        assert watch.end() is grpc.StatusCode.UNAVAILABLE
        assert server.process.wait(TIMEOUT_S) == 0


def test_a_call_that_outlasts_the_shutdown_timeout_is_cut_off_and_the_exit_code_says_so(models):
    flags = ("--drain-window-s", 0, "--shutdown-timeout-s", 0.1)
    with RunningServer(models, *QUICK, *flags) as server, channel(address_of(server)) as asked:
        server.wait_for("ready")
        call = predict(asked, "slow")
        assert answer(predict(asked)) == 1.0  # on the same connection: the other one has begun by now
        assert server.stop() == 1
        call.exception()
        assert call.code() is grpc.StatusCode.UNAVAILABLE


def test_without_http_grpc_is_served_alone(models):
    with RunningServer(models, *QUICK, "--no-http", "--drain-window-s", 0) as server:
        ready = server.wait_for("ready")
        assert "url" not in ready
        with channel(address_of(server)) as asked:
            assert answer(predict(asked)) == 1.0
        assert server.stop() == 0


def test_a_port_in_use_stops_the_start_with_one_sentence(models):
    with RunningServer(models, *QUICK, "--drain-window-s", 0) as server:
        port = address_of(server).rpartition(":")[2]
        for workers in (1, 2):
            command = [COMMAND, "serve", models, "--no-probe", "--port", 0, "--grpc-port", port, "--workers", workers]
            ended = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=TIMEOUT_S)
            assert ended.returncode == 1
            assert f"Port {port} on 127.0.0.1 is already in use; choose another port" in ended.stderr
        server.wait_for("ready")
        assert server.stop() == 0


@pytest.fixture(scope="module")
def workers(models, tmp_path_factory):
    socket = tmp_path_factory.mktemp("w") / "s"
    flags = ("--workers", 2, "--grpc-socket-path", socket, "--access-log", "--drain-window-s", 0.2)
    with RunningServer(models, *QUICK, *flags) as running:
        running.wait_for("ready")
        yield running
        assert running.stop() == 0
    assert not socket.exists()


def worker_that_answers(workers):
    """The worker that answered one prediction over a new connection."""
    before = len([each for each in workers.records if each["event"] == "call" and each["method"] == PREDICT])
    with channel(address_of(workers)) as asked:
        assert answer(predict(asked)) == 1.0
    workers.wait_for_count("call", before + 1, method=PREDICT)
    return [each for each in workers.records if each["event"] == "call" and each["method"] == PREDICT][-1]["worker"]


def test_several_workers_all_take_connections(workers):
    answered = set()
    for _ in range(200):
        answered.add(worker_that_answers(workers))
        if answered == {0, 1}:
            return
    raise AssertionError(f"only {answered} answered")


def test_the_first_of_several_workers_serves_the_unix_socket(workers):
    with channel(workers.wait_for("listening")["grpc"].rpartition(", ")[2]) as asked:
        assert answer(predict(asked)) == 1.0


def test_a_worker_that_is_killed_is_replaced_and_the_others_go_on(workers):
    children = psutil.Process(workers.process.pid).children()
    (second,) = [
        child
        for child in children
        if "tensorhost.server.workers.worker" in child.cmdline() and child.pid == max(each.pid for each in children)
    ]
    stop, failures = threading.Event(), []

    def ask():
        while not stop.is_set():
            with channel(address_of(workers)) as asked:
                call = predict(asked)
                call.exception()
                if call.code() is not grpc.StatusCode.OK:
                    failures.append(call.code())

    asking = threading.Thread(target=ask)
    asking.start()
    second.kill()
    workers.wait_for_count("worker ready", 3)
    stop.set()
    asking.join()
    # A connection that the dead worker had, or had not accepted yet, is lost with it; no more than that.
    assert set(failures) <= {grpc.StatusCode.UNAVAILABLE}
    assert len(failures) <= 2
    answered = {worker_that_answers(workers) for _ in range(100)}
    assert answered == {0, 1}
