"""tensorhost behind the nginx that deploy/nginx configures: real processes, and what clients see."""

from __future__ import annotations

import gzip
import http.client
import json
import ssl
import threading
from collections import Counter

import pytest
from certificates import write_certificate
from nginx_process import SHIPPED, Nginx, free_ports
from tests.integration.native_server import RunningServer, exchange
from upstreams import Upstream, Vanished, answer

from tensorhost.client import Client
from tensorhost.demo import demo_models_path, samples
from tensorhost.settings import Settings

TIMEOUT_S = 60
MIB = 2**20
# Quick to start: what loading tries out first is tested elsewhere.
QUICK = {"TENSORHOST_PROBE": "false", "WARMUP_ITERATIONS": "1", "LOG_LEVEL": "info"}
DIGIT = samples()["digits"][0]
UNDER_A_PATH = [("GET", "/ml/models"), ("POST", "/ml/predict"), ("POST", "/ml/batch-predict")]
REQUEST = {"modelName": "digits", "inputs": [DIGIT["input"]]}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    (root / "digits").symlink_to(demo_models_path() / "digits")
    return root


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return write_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def tensorhost(models):
    with RunningServer(models, TENSORHOST_DRAIN_WINDOW_S="0", **QUICK) as running:
        running.wait_for("ready")
        yield running
        assert running.stop() == 0


@pytest.fixture(scope="module")
def proxied(tensorhost, certificate, tmp_path_factory):
    """Ports of the shipped host and of one with tensorhost under a path, before one tensorhost."""
    port, sub_path_port = free_ports(2)
    changes = shipped_changes(port, certificate, [tensorhost.port])
    with Nginx(tmp_path_factory.mktemp("nginx"), changes, under_a_path(sub_path_port)):
        yield port, sub_path_port


def under_a_path(port):
    """A host that has tensorhost under a path, as a file of nginx's."""
    return {"sub-path.conf": f"server {{ listen 127.0.0.1:{port}; include {SHIPPED}/sub-path.conf; }}"}


def shipped_changes(port, certificate, upstreams):
    first, *others = upstreams
    second = f"server 127.0.0.1:{others[0]} max_fails=0;" if others else ""
    return {
        "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
        "/etc/nginx/tls/models.example.com.crt": str(certificate[0]),
        "/etc/nginx/tls/models.example.com.key": str(certificate[1]),
        "server 127.0.0.1:3000 max_fails=0;": f"server 127.0.0.1:{first} max_fails=0;",
        "server 127.0.0.1:3001 max_fails=0;": second,
    }


def connect(port, certificate):
    context = ssl.create_default_context(cafile=certificate[0])
    return http.client.HTTPSConnection("127.0.0.1", port, timeout=TIMEOUT_S, context=context)


@pytest.fixture
def ask(proxied, certificate):
    """Sends one request over TLS; the answer."""
    connection = connect(proxied[0], certificate)
    yield lambda method, path, body=None, **headers: exchange(connection, method, path, body, headers)
    connection.close()


def test_predictions_come_through_over_tls(ask):
    answered = ask("POST", "/predict", REQUEST)
    assert answered.status == 200
    assert answered.json["predictions"][0][0]["label"] == DIGIT["expected"]


def test_the_request_id_goes_through_both_ways(ask, tensorhost):
    answered = ask("GET", "/models/nothing", X_Request_Id="from-the-client:1")
    assert answered.error["requestId"] == "from-the-client:1"
    tensorhost.wait_for("request failed", request_id="from-the-client:1")


@pytest.mark.parametrize("sent", [{}, {"X_Request_Id": 'a"b'}, {"X_Request_Id": "x" * 129}])
def test_a_request_without_a_good_id_gets_one_that_the_server_logs(ask, tensorhost, sent):
    request_id = ask("GET", "/models/nothing", **sent).error["requestId"]
    assert len(request_id) == 32
    tensorhost.wait_for("request failed", request_id=request_id)


def test_bodies_up_to_the_limit_of_tensorhost_come_through(ask):
    limit = int(Settings().max_body_bytes)
    assert limit == 32 * MIB
    assert f"client_max_body_size {limit // MIB}m;" in (SHIPPED / "snippets" / "tensorhost-proxy.conf").read_text()
    text = json.dumps(REQUEST).encode()
    answered = ask("POST", "/predict", text + b" " * (limit - len(text)))
    assert answered.status == 200


def test_larger_bodies_are_refused_in_the_one_shape(ask):
    answered = ask("POST", "/predict", b" " * (32 * MIB + 1), X_Request_Id="too-large")
    assert answered.status == 413
    assert answered.error["code"] == "PAYLOAD_TOO_LARGE"
    assert answered.error["requestId"] == "too-large"


def test_chunked_bodies_come_through(ask):
    text = json.dumps(REQUEST).encode()
    answered = ask("POST", "/predict", iter([text[:10], text[10:]]), Transfer_Encoding="chunked")
    assert answered.status == 200


def test_answers_are_compressed_by_tensorhost_once(ask):
    body = {"modelName": "digits", "inputs": [DIGIT["input"]] * 2000}
    plain = ask("POST", "/predict", body, Accept_Encoding="identity")
    packed = ask("POST", "/predict", body, Accept_Encoding="gzip")
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert len(packed.body) < len(plain.body) / 2
    assert json.loads(gzip.decompress(packed.body))["predictions"] == plain.json["predictions"]


@pytest.mark.parametrize("call", ["load", "unload", "labels"])
def test_control_routes_are_closed(ask, call):
    answered = ask("POST", f"/models/digits/{call}", {})
    assert answered.status == 403
    assert answered.error["code"] == "PERMISSION_DENIED"


def test_refusals_of_tensorhost_come_through_as_they_are(ask):
    for path, status in (("/nowhere", 404), ("/predict", 405)):
        answered = ask("GET", path)
        assert answered.status == status
        assert answered.error["message"]
    late = ask("POST", "/predict", REQUEST | {"timeoutMs": 1e-6})
    assert late.status == 504
    assert late.error["code"] == "DEADLINE_EXCEEDED"


def test_under_a_path_routes_are_the_same(proxied):
    connection = http.client.HTTPConnection("127.0.0.1", proxied[1], timeout=TIMEOUT_S)
    try:
        assert exchange(connection, "GET", "/ml/health/ready").status == 200
        answered = exchange(connection, "POST", "/ml/predict", REQUEST)
        assert answered.json["predictions"][0][0]["label"] == DIGIT["expected"]
        items = {"modelName": "digits", "batch": [{"inputs": [DIGIT["input"]]}]}
        assert len(exchange(connection, "POST", "/ml/batch-predict", items).json["results"]) == 1
        assert exchange(connection, "GET", "/ml/models/digits").json["name"] == "digits"
        assert exchange(connection, "POST", "/ml/models/digits/unload", {}).status == 403
        assert exchange(connection, "GET", "/models").status == 404
    finally:
        connection.close()


def test_under_a_path_errors_of_nginx_have_the_one_shape(certificate, tmp_path):
    port, sub_path_port, *nobody = free_ports(4)
    with Nginx(tmp_path, shipped_changes(port, certificate, nobody), under_a_path(sub_path_port)):
        connection = http.client.HTTPConnection("127.0.0.1", sub_path_port, timeout=TIMEOUT_S)
        away = [exchange(connection, method, path, b"{}") for method, path in UNDER_A_PATH]
        large = exchange(connection, "POST", "/ml/predict", b" " * (32 * MIB + 1), {"X-Request-Id": "too-large"})
        elsewhere = exchange(connection, "GET", "/nowhere")
        connection.close()
    for answered in away:
        assert (answered.status, answered.headers["retry-after"]) == (503, "1")
        assert answered.error["code"] == "OVERLOADED"
    assert (large.status, large.error["code"]) == (413, "PAYLOAD_TOO_LARGE")
    assert large.error["requestId"] == "too-large"
    assert elsewhere.headers["content-type"] == "text/html"


def test_the_client_and_a_path_go_together(proxied):
    with Client(f"http://127.0.0.1:{proxied[1]}/ml") as client:
        assert {model["name"] for model in client.models()} == {"digits"}


def test_idle_connections_are_closed_by_nginx_first():
    text = (SHIPPED / "tensorhost.conf").read_text()
    assert "keepalive_timeout 60s;" in text
    assert Settings().keep_alive_timeout_s > 60


def with_upstreams(handlers, certificate, folder, **changes):
    """An nginx before servers of the test's; give both to ``ExitStack``."""
    upstreams = [Upstream(handler) for handler in handlers]
    port = free_ports(1)[0]
    shipped = shipped_changes(port, certificate, [one.port for one in upstreams])
    return upstreams, port, Nginx(folder, shipped | changes)


def hang_up(request, _body):
    request.close_connection = True


def refuse(request, _body):
    body = b'{"error":{"code":"OVERLOADED"}}'
    answer(request, 503, body, {"Retry-After": "7"})


def accept(request, body):
    answer(request, 200, body or b"{}")


def asked(handlers, certificate, folder, method, path, count=4, **changes):
    """Answers to ``count`` requests, and how many requests came to each server."""
    upstreams, port, nginx = with_upstreams(handlers, certificate, folder, **changes)
    with upstreams[0], upstreams[-1] if len(upstreams) > 1 else upstreams[0] as _, nginx:
        connection = connect(port, certificate)
        answers = [exchange(connection, method, path, b'{"a":1}' if method == "POST" else None) for _ in range(count)]
        connection.close()
    return answers, [len(one.requests) for one in upstreams]


@pytest.mark.parametrize("fault", [hang_up, refuse])
@pytest.mark.parametrize("path", ["/predict", "/batch-predict", "/v1/models/m/versions/2:predict"])
def test_a_prediction_goes_to_the_other_server_when_one_cannot(fault, path, certificate, tmp_path):
    answers, counts = asked([fault, accept], certificate, tmp_path, "POST", path)
    assert [(one.status, one.body) for one in answers] == [(200, b'{"a":1}')] * 4
    assert counts[0] >= 1
    assert counts[1] == 4


def test_a_machine_that_has_vanished_costs_a_second_and_no_prediction(certificate, tmp_path):
    port = free_ports(1)[0]
    with (
        Vanished() as gone,
        Upstream(accept) as there,
        Nginx(tmp_path, shipped_changes(port, certificate, [gone.port, there.port])) as nginx,
    ):
        connection = connect(port, certificate)
        answers = [exchange(connection, "POST", "/predict", b'{"a":1}') for _ in range(2)]
        connection.close()
    assert [(one.status, one.body) for one in answers] == [(200, b'{"a":1}')] * 2
    assert "timed out" in nginx.log


def test_what_takes_too_long_is_not_asked_for_twice(certificate, tmp_path):
    over = threading.Event()

    def wait(request, _body):
        over.wait(TIMEOUT_S)
        request.close_connection = True

    # Both times are shorter by the same factor, which keeps the order that the shipped ones have.
    changes = {"proxy_read_timeout 60s;": "proxy_read_timeout 2s;", "upstream_timeout 3s;": "upstream_timeout 100ms;"}
    answers, counts = asked([wait, wait], certificate, tmp_path, "POST", "/predict", count=1, **changes)
    over.set()
    assert (answers[0].status, answers[0].error["code"]) == (504, "DEADLINE_EXCEEDED")
    assert sum(counts) == 1


def test_one_connection_to_a_server_serves_many_clients(certificate, tmp_path):
    upstreams, port, nginx = with_upstreams([accept], certificate, tmp_path)
    with upstreams[0], nginx:
        for _ in range(20):
            connection = connect(port, certificate)
            assert exchange(connection, "GET", "/health/ready").status == 200
            connection.close()
    assert len(upstreams[0].requests) == 20
    assert len(upstreams[0].clients) == 1


def test_only_predictions_are_repeated(certificate, tmp_path):
    answers, counts = asked([hang_up, hang_up], certificate, tmp_path, "POST", "/other", count=1)
    assert sum(counts) == 1
    assert answers[0].status == 503


def test_when_all_are_full_the_last_word_is_theirs(certificate, tmp_path):
    answers, counts = asked([refuse, refuse], certificate, tmp_path, "POST", "/predict")
    for one in answers:
        assert (one.status, one.headers["retry-after"]) == (503, "7")
        assert one.json["error"]["code"] == "OVERLOADED"
    assert sum(counts) == 8


def test_when_none_is_there_clients_are_told_to_come_again(certificate, tmp_path):
    port, *nobody = free_ports(3)
    with Nginx(tmp_path, shipped_changes(port, certificate, nobody)):
        connection = connect(port, certificate)
        answered = exchange(connection, "POST", "/predict", REQUEST)
        connection.close()
    assert (answered.status, answered.headers["retry-after"]) == (503, "1")
    assert answered.error["code"] == "OVERLOADED"


def test_events_are_passed_on_as_they_come(certificate, tmp_path):
    read = [threading.Event(), threading.Event()]

    def stream(request, _body):
        request.send_response(200)
        request.send_header("Content-Type", "text/event-stream")
        request.send_header("X-Accel-Buffering", "no")
        request.send_header("Connection", "close")
        request.end_headers()
        for number, gate in enumerate(read):
            request.wfile.write(b"data: %d\n\n" % number)
            # The next event is not written before the client has this one: a proxy that gathers would wait for ever.
            assert gate.wait(TIMEOUT_S)
        request.close_connection = True

    upstreams, port, nginx = with_upstreams([stream], certificate, tmp_path)
    with upstreams[0], nginx:
        connection = connect(port, certificate)
        connection.request("GET", "/dashboard/events", headers={"Accept-Encoding": "gzip"})
        response = connection.getresponse()
        for number, gate in enumerate(read):
            assert response.readline() == b"data: %d\n" % number
            assert response.readline() == b"\n"
            gate.set()
        assert response.read() == b""
        connection.close()


def test_the_dashboards_events_come_through(proxied, certificate):
    connection = connect(proxied[0], certificate)
    connection.request("GET", "/dashboard/events")
    response = connection.getresponse()
    assert response.status == 200
    assert response.getheader("content-type").startswith("text/event-stream")
    assert response.readline()
    connection.close()


def test_a_slow_client_does_not_keep_the_server_waiting(certificate, tmp_path):
    upstreams, port, nginx = with_upstreams([accept], certificate, tmp_path)
    with upstreams[0], nginx:
        connection = connect(port, certificate)
        connection.putrequest("POST", "/predict")
        connection.putheader("Content-Length", "4")
        connection.endheaders(b"12")
        other = connect(port, certificate)
        assert exchange(other, "GET", "/health/live").status == 200
        assert upstreams[0].requests == ["/health/live"]
        connection.send(b"34")
        assert connection.getresponse().read() == b"1234"
        assert upstreams[0].requests == ["/health/live", "/predict"]
        connection.close()
        other.close()


class Load:
    """Clients that predict without pause, each on a connection of its own; ``statuses`` is what they saw."""

    def __init__(self, port, certificate, clients=2) -> None:
        self.statuses: Counter[int] = Counter()
        self._over = threading.Event()
        self._news = threading.Condition()
        self._threads = [threading.Thread(target=self._run, args=(port, certificate)) for _ in range(clients)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception):
        self._over.set()
        for thread in self._threads:
            thread.join()

    def wait_for_more(self, count=50):
        """Return when ``count`` more requests have been answered."""
        with self._news:
            wanted = self.statuses.total() + count
            assert self._news.wait_for(lambda: self.statuses.total() >= wanted, TIMEOUT_S)

    def _run(self, port, certificate):
        connection = connect(port, certificate)
        while not self._over.is_set():
            try:
                status = exchange(connection, "POST", "/predict", REQUEST).status
            except OSError:
                status = 0
            with self._news:
                self.statuses[status] += 1
                self._news.notify_all()
        connection.close()


@pytest.mark.timeout(300)  # three servers start, one of them under load
def test_stopping_and_starting_one_of_two_servers_is_not_noticed(tensorhost, models, certificate, tmp_path):
    port, other_port = free_ports(2)
    changes = shipped_changes(port, certificate, [other_port, tensorhost.port])
    served = QUICK | {"TENSORHOST_DRAIN_WINDOW_S": "0.5"}
    with Nginx(tmp_path, changes), RunningServer(models, port=other_port, **served) as old:
        old.wait_for("ready")
        with Load(port, certificate) as load:
            load.wait_for_more()
            assert old.metrics()["requestCount"] > 0
            assert old.stop() == 0
            load.wait_for_more()
            with RunningServer(models, port=other_port, **served) as new:
                new.wait_for("listening")
                load.wait_for_more()  # it says 503 until it has loaded
                new.wait_for("ready")
                load.wait_for_more()
                assert new.metrics()["requestCount"] > 0
                assert new.stop() == 0
            load.wait_for_more()
    assert set(load.statuses) == {200}
