"""Which application answers a path, on which port, and for which origins."""

import pytest
from tests.unit.inference.engine_bench import EngineBench

from tensorhost.frontends import oip
from tensorhost.frontends.native import NativeApp
from tensorhost.frontends.tfserving import RestApp
from tensorhost.frontends.tfserving.request_log import RequestLog
from tensorhost.inference import Alone
from tensorhost.server.applications import Applications


def applications(**settings):
    bench = EngineBench(**settings)
    chosen = bench.manager.settings
    group = Alone(bench.manager)
    rest = RestApp(bench.engine, chosen, group, RequestLog(bench.manager, chosen))
    open_inference = oip.RestApp(oip.OpenInference(bench.engine, chosen, group))
    return Applications(NativeApp(bench.engine, chosen), rest, open_inference, chosen)


async def ask(app, path, *, port=3000, method="GET", **headers):
    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    sent = []
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": path, "headers": raw, "server": ("127.0.0.1", port)}
    await app(scope, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


@pytest.mark.parametrize(
    ("path", "begins"),
    [
        ("/v1/models/m", b'{\n "model_version_status"'),
        ("/V1/models", b'{\n "models"'),
        ("/v2", b'{"name":"tensorhost"'),
        ("/v2/models/m/ready", b'{"name":"m"'),
        ("/v2x", b'{"error":{"code":"NOT_FOUND"'),
        ("/metrics", b'{"requestCount"'),
        ("/v1", b'{"error":{"code":"NOT_FOUND"'),
        ("/readyz", b'{"status"'),
        ("/healthz", b'{"status":"alive"}'),
    ],
)
async def test_paths_find_their_application(path, begins):
    _, _, body = await ask(applications(), path)
    assert body.startswith(begins)


async def test_a_port_of_its_own_has_nothing_else_but_health():
    app = applications(tfserving_port=8501)
    assert (await ask(app, "/v1/models/m", port=8501))[0] == 200
    assert (await ask(app, "/v1/models/m"))[0] == 200
    assert (await ask(app, "/healthz", port=8501))[0] == 200
    for path in ("/models", "/metrics", "/", "/models/m/unload", "/v2", "/v2/models/m"):
        status, _, body = await ask(app, path, port=8501)
        assert (status, body) == (404, f'{{"error": "There is no route {path}."}}'.encode())
    assert (await ask(app, "/metrics"))[0] == 200


async def test_origins_are_named_once():
    origin = "https://pages.example"
    both = applications(cors_origins=(origin,))
    for path in ("/v1/models/m", "/metrics"):
        assert (await ask(both, path, origin=origin))[1][b"access-control-allow-origin"] == origin.encode()
    theirs = applications(cors_origins=(origin,), tfserving_cors=True)
    assert (await ask(theirs, "/v1/models/m", origin=origin))[1][b"access-control-allow-origin"] == b"*"
    assert (await ask(theirs, "/metrics", origin=origin))[1][b"access-control-allow-origin"] == origin.encode()


async def test_routes_of_traces():
    app = applications()
    assert app.traced_route("/predict") == "/predict"
    assert app.traced_route("/v1/models/m/versions/3:regress") == "/v1/models/{model}:regress"
    assert app.traced_route("/v1/models/m") is None
    assert app.traced_route("/models") is None
