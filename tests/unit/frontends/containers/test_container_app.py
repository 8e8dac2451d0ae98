"""The clouds' routes around the other applications: what is passed on and what is answered here."""

import gzip
import json

import numpy as np
import pytest
from tests.unit.inference.engine_bench import EngineBench

from tensorhost.core.errors import AlreadyLoadedError, LoadTimeoutError, OutOfMemoryError
from tensorhost.frontends import oip
from tensorhost.frontends.containers import ContainerApp
from tensorhost.frontends.containers.delegation import binary_type
from tensorhost.frontends.native import NativeApp
from tensorhost.frontends.tfserving import RestApp
from tensorhost.frontends.tfserving.request_log import RequestLog
from tensorhost.inference import Alone
from tensorhost.server.applications import Applications

ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
INSTANCES = b'{"instances": [[1.0, 2.0]]}'


class Group(Alone):
    """A group that is ready and only writes down what it is to load."""

    ready = True

    def __init__(self, manager):
        super().__init__(manager)
        self.asked, self.failure = [], None

    async def add_model(self, name, source=None, version=None):
        self.asked.append(("load", name, str(source)))
        self.version = version
        if self.failure is not None:
            raise self.failure

    async def unload_model(self, name, version=None):
        self.asked.append(("unload", name))


class Cloud:
    """The applications of a server that has the model ``m``."""

    def __init__(self, **settings):
        self.bench = EngineBench(**settings)
        self.manager, chosen = self.bench.manager, self.bench.manager.settings
        self.group = Group(self.manager)
        self.native = NativeApp(self.bench.engine, chosen, self.group)
        rest = RestApp(self.bench.engine, chosen, self.group, RequestLog(self.manager, chosen))
        open_inference = oip.RestApp(oip.OpenInference(self.bench.engine, chosen, self.group))
        applications = Applications(self.native, rest, open_inference, chosen)
        self.app = ContainerApp(applications, self.manager, chosen, self.group)

    async def ask(self, method, path, body=b"", app=None, more=(), **headers):
        sent, pieces = [], [body]

        async def receive():
            if not pieces:
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": pieces.pop(), "more_body": False}

        async def send(message):
            sent.append(message)

        given = [*((name.replace("_", "-"), value) for name, value in headers.items()), *more]
        raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in given]
        await (app or self.app)({"type": "http", "method": method, "path": path, "headers": raw}, receive, send)
        start, answer = sent
        return start["status"], answer["body"], dict(start["headers"])


def sagemaker(**settings):
    return Cloud(sagemaker=True, **settings)


def several(**settings):
    return Cloud(sagemaker_multi_model=True, **settings)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [("application/json", INSTANCES), ("application/json", b"[1.0, 2.0]"), ("text/csv", b"1.0,2.0"),
     ("application/jsonlines", b"[1.0, 2.0]\n"), ("Application/JSON; charset=utf-8", INSTANCES)],
)  # fmt: skip
async def test_invocations_are_predictions(content_type, body):
    cloud = sagemaker()
    status, answer, headers = await cloud.ask("POST", "/invocations", body, content_type=content_type)
    assert (status, json.loads(answer)) == (200, {"predictions": [[2.0, 4.0]]})
    assert headers[b"content-type"] == b"application/json"
    assert cloud.bench.counted() == (1, {})
    cloud.bench.check_idle()


async def test_attributes_name_model_version_and_method():
    cloud = sagemaker()
    names = {
        "tfs-model-name=m": 200,
        "tfs-model-name=m,tfs-model-version=1": 200,
        " TFS-Model-Name = m , other": 200,
        "tfs-model-version=9": 404,
        "tfs-model-name=nope": 404,
        "tfs-model-name=../../models": 404,
        "tfs-model-version=1/../..": 400,
        "tfs-method=unload": 400,
        "tfs-method=classify": 400,
    }
    for attributes, expected in names.items():
        status, answer, _ = await cloud.ask(
            "POST", "/invocations", INSTANCES, x_amzn_sagemaker_custom_attributes=attributes
        )
        assert status == expected, (attributes, answer)
        assert (b'"error"' in answer) is (expected != 200)


async def test_an_attribute_that_comes_twice():
    cloud = sagemaker()
    for attributes, expected in (
        ("tfs-model-version=1,tfs-model-version=1", 200),
        ("tfs-model-version=1,TFS-Model-Version=2", 400),
        ("tfs-model-name=m,tfs-model-name=", 400),
        ("tfs-model-name=m=x", 404),
        ("tfs-model-name=\xe9", 404),
        ("tfs-model-name=" + "m" * 5000, 404),
        ("tfs-model-version=99999999999999999999", 400),
        ("tfs-model-version=\u0661", 400),
        ("tfs-method=predict:predict", 400),
        (",=,,tfs-method", 200),
        ("=1,=2", 400),
    ):
        status, answer, _ = await cloud.ask(
            "POST", "/invocations", INSTANCES, x_amzn_sagemaker_custom_attributes=attributes.encode().decode("latin-1")
        )
        assert status == expected, (attributes, answer)
        assert len(answer) < 1000


@pytest.mark.parametrize(
    ("path", "name", "one", "other"),
    [
        ("/invocations", "content-type", "text/csv", "application/json"),
        ("/invocations", ATTRIBUTES, "tfs-model-version=1", "tfs-model-version=2"),
        ("/invocations", "content-encoding", "gzip", "identity"),
        ("/predict/here", "x-vertex-ai-triton-redirect", "v2", "v2/models/m"),
    ],
)
async def test_a_header_that_comes_twice(path, name, one, other):
    cloud = sagemaker(vertex_predict_route="/predict/here")
    status, answer, _ = await cloud.ask("POST", path, INSTANCES, more=((name, one), (name, other)))
    assert status == 400
    assert json.loads(answer) == {"error": f"The header {name.lower()} comes twice, and not alike."}


async def test_what_cannot_be_read_is_refused():
    cloud = sagemaker(max_body_bytes=1000)
    for content_type, body, expected in (
        ("text/plain", b"1", 415),
        ("text/csv", b'"', 400),
        ("application/json", b"[1, ", 400),
        ("application/json", b"", 400),
        ("application/json", b"{}" + b" " * 1000, 413),
        ("application/vnd.sagemaker-triton.binary+json", b"", 400),
        ("application/vnd.sagemaker-triton.binary+json;json-header-size=-1", b"", 400),
    ):
        status, answer, _ = await cloud.ask("POST", "/invocations", body, content_type=content_type)
        assert status == expected, (content_type, answer)
        assert set(json.loads(answer)) == {"error"}
    assert (await cloud.ask("GET", "/invocations"))[0] == 405
    assert (await cloud.ask("POST", "/ping"))[0] == 405
    assert cloud.bench.engine.metrics.view().totals.error_count == 9


async def test_compressed_bodies_are_read_once():
    cloud = sagemaker()
    status, answer, _ = await cloud.ask(
        "POST", "/invocations", gzip.compress(b"1.0,2.0"), content_type="text/csv", content_encoding="gzip"
    )
    assert (status, json.loads(answer)) == (200, {"predictions": [[2.0, 4.0]]})


async def test_the_model_asked_where_none_is_named():
    cloud = sagemaker(container_model="n")
    assert (await cloud.ask("POST", "/invocations", INSTANCES))[0] == 404
    cloud = sagemaker()
    cloud.manager._catalog.models["other"] = cloud.manager._catalog.models["m"]
    status, answer, _ = await cloud.ask("POST", "/invocations", INSTANCES)
    assert (status, b"container_model" in answer) == (400, True)


async def test_ping_follows_readiness(monkeypatch):
    cloud = sagemaker(vertex_health_route="/alive")
    monkeypatch.setattr(type(cloud.group), "ready", False)
    assert (await cloud.ask("GET", "/ping"))[:2] == (502, b"")
    assert (await cloud.ask("GET", "/alive"))[:2] == (503, b"")
    monkeypatch.setattr(type(cloud.group), "ready", True)
    assert (await cloud.ask("GET", "/ping"))[:2] == (200, b"")
    assert (await cloud.ask("GET", "/alive"))[:2] == (200, b"")
    cloud.native.begin_drain()
    assert (await cloud.ask("GET", "/ping"))[0] == 502
    absent = sagemaker(container_model="absent")
    assert (await absent.ask("GET", "/ping"))[0] == 502
    absent.manager._catalog.models.clear()
    assert (await absent.ask("GET", "/ping"))[0] == 502
    # An endpoint of many models has none at first.
    empty = several()
    empty.manager._catalog.models.clear()
    assert (await empty.ask("GET", "/ping"))[0] == 200


@pytest.mark.parametrize("route", ["/predict/here", "/v1/endpoints/7/deployedModels/9:predict"])
async def test_vertex(route):
    cloud = Cloud(vertex_predict_route=route, vertex_health_route="/alive")
    body = b'{"instances": [[1.0, 2.0]], "parameters": {"a": 1}}'
    status, answer, _ = await cloud.ask("POST", route, body, content_type="application/json")
    assert (status, json.loads(answer)) == (200, {"predictions": [[2.0, 4.0]]})
    assert (await cloud.ask("GET", route))[0] == 405
    assert (await cloud.ask("POST", "/invocations", body))[0] == 404


def oip_body(**more):
    given = {"name": "x", "datatype": "FP32", "shape": [1, 2]} | more
    return json.dumps({"inputs": [given]}).encode()


@pytest.mark.parametrize(
    ("settings", "path", "cloud_name"),
    [
        ({"sagemaker": True}, "/invocations", "sagemaker-triton"),
        ({"vertex_predict_route": "/predict/here"}, "/predict/here", "vertex-ai-triton"),
    ],
)
async def test_tensors_in_binary_form(settings, path, cloud_name):
    cloud = Cloud(**settings)
    head = json.loads(oip_body(parameters={"binary_data_size": 8}))
    head = json.dumps(head | {"parameters": {"binary_data_output": True}}).encode()
    kind = f"application/vnd.{cloud_name}.binary+json;json-header-size="
    body = head + np.float32([1, 2]).tobytes()
    status, answer, headers = await cloud.ask("POST", path, body, content_type=f"{kind}{len(head)}")
    assert status == 200, answer
    size = int(headers[b"content-type"].decode().removeprefix(kind))
    assert json.loads(answer[:size])["outputs"][0]["shape"] == [1, 2]
    assert np.frombuffer(answer[size:], np.float32).tolist() == [2.0, 4.0]
    # A JSON answer stays one, and so does a failure.
    status, answer, headers = await cloud.ask("POST", path, oip_body(data=[1, 2]), content_type=f"{kind}60")
    assert (status, headers[b"content-type"]) == (400, b"application/json")
    whole = oip_body(data=[1, 2])
    status, answer, headers = await cloud.ask("POST", path, whole, content_type=f"{kind}{len(whole)}")
    assert (status, headers[b"content-type"]) == (200, b"application/json")


async def test_json_of_the_open_inference_protocol():
    cloud = sagemaker(container_api="oip")
    # The length of a header is no client's to say here: JSON is all there is.
    more = {"content_type": "application/json", "inference_header_content_length": "5"}
    status, answer, _ = await cloud.ask("POST", "/invocations", oip_body(data=[1, 2]), **more)
    assert (status, json.loads(answer)["outputs"][0]["data"]) == (200, [2.0, 4.0])
    status, _, _ = await cloud.ask(
        "POST",
        "/invocations",
        oip_body(data=[1, 2]),
        x_amzn_sagemaker_custom_attributes="tfs-model-version=9",
    )
    assert status == 404


async def test_vertex_redirects_are_as_guarded_as_what_they_lead_to():
    cloud = Cloud(vertex_predict_route="/predict/here", host="0.0.0.0")
    status, answer, _ = await cloud.ask("POST", "/predict/here", x_vertex_ai_triton_redirect="v2/repository/index")
    assert (status, json.loads(answer)[0]["name"]) == (200, "m")
    unload = "v2/repository/models/m/unload"
    status, _, _ = await cloud.ask("POST", "/predict/here", x_vertex_ai_triton_redirect=unload)
    assert (status, cloud.group.asked) == (403, [])


async def test_vertex_redirects_may_bring_binary_data():
    cloud = Cloud(vertex_predict_route="/predict/here")
    head = json.loads(oip_body(parameters={"binary_data_size": 8}))
    head = json.dumps(head | {"parameters": {"binary_data_output": True}}).encode()
    kind = "application/vnd.vertex-ai-triton.binary+json;json-header-size="
    status, answer, headers = await cloud.ask(
        "POST",
        "/predict/here",
        head + np.float32([1, 2]).tobytes(),
        content_type=f"{kind}{len(head)}",
        x_vertex_ai_triton_redirect="v2/models/m/infer",
    )
    assert status == 200, answer
    size = int(headers[b"content-type"].decode().removeprefix(kind))
    assert np.frombuffer(answer[size:], np.float32).tolist() == [2.0, 4.0]


@pytest.mark.parametrize("redirect", ["v1/models/m", "models/m/unload", "v2/../models", "v2//x", "http://x/v2", "v2?x"])
async def test_vertex_redirects_lead_nowhere_else(redirect):
    cloud = Cloud(vertex_predict_route="/predict/here")
    status, answer, _ = await cloud.ask("POST", "/predict/here", x_vertex_ai_triton_redirect=redirect)
    assert (status, b"below v2" in answer) == (400, True)


async def test_vertex_may_use_what_is_there_anyway():
    cloud = Cloud(vertex_predict_route="/v1/models/m:predict", vertex_health_route="/v1/models/m")
    assert cloud.app.routes == [("POST", "/v1/models/m:predict")]
    status, answer, _ = await cloud.ask("POST", "/v1/models/m:predict", INSTANCES)
    assert (status, json.loads(answer)) == (200, {"predictions": [[2.0, 4.0]]})
    assert b"model_version_status" in (await cloud.ask("GET", "/v1/models/m"))[1]


async def test_vertex_may_use_a_route_of_the_open_inference_protocol():
    route = "/v2/models/m/infer"
    cloud = Cloud(vertex_predict_route=route, vertex_health_route="/v2/health/live")
    status, answer, _ = await cloud.ask("POST", route, oip_body(data=[1, 2]))
    assert (status, json.loads(answer)["outputs"][0]["data"]) == (200, [2.0, 4.0])
    # Neither what Vertex AI adds to it is lost, nor what it is otherwise.
    head = oip_body(parameters={"binary_data_size": 8})
    kind = f"application/vnd.vertex-ai-triton.binary+json;json-header-size={len(head)}"
    status, answer, _ = await cloud.ask("POST", route, head + np.float32([1, 2]).tobytes(), content_type=kind)
    assert (status, json.loads(answer)["outputs"][0]["data"]) == (200, [2.0, 4.0])
    assert (await cloud.ask("POST", route, x_vertex_ai_triton_redirect="v2/models/m"))[0] == 200
    status, answer, headers = await cloud.ask("GET", route)
    assert (status, json.loads(answer), headers[b"allow"]) == (405, {"error": "Method Not Allowed"}, b"POST")
    assert (await cloud.ask("GET", "/v2/health/live"))[0] == 200


async def test_a_route_that_only_begins_like_another_is_vertex_ai_s():
    cloud = Cloud(vertex_predict_route="/v2/predict", vertex_health_route="/v1/models/m/alive")
    status, answer, _ = await cloud.ask("POST", "/v2/predict", INSTANCES)
    assert (status, json.loads(answer)) == (200, {"predictions": [[2.0, 4.0]]})
    assert (await cloud.ask("GET", "/v1/models/m/alive"))[:2] == (200, b"")


async def test_a_route_that_others_have_for_another_method_keeps_it():
    route = "/v1/models/m"
    cloud = Cloud(vertex_predict_route=route, vertex_health_route=route)
    status, answer, _ = await cloud.ask("GET", route)
    assert (status, "model_version_status" in json.loads(answer)) == (200, True)
    status, answer, _ = await cloud.ask("POST", route, INSTANCES)
    assert (status, json.loads(answer)) == (200, {"predictions": [[2.0, 4.0]]})


async def test_one_path_may_be_asked_for_health_and_for_predictions():
    for route in ("/", "/predict", "/ping"):
        cloud = sagemaker(vertex_predict_route=route, vertex_health_route=route)
        assert (await cloud.ask("GET", route))[:2] == (200, b"")
        status, answer, _ = await cloud.ask("POST", route, INSTANCES)
        assert (status, json.loads(answer)) == (200, {"predictions": [[2.0, 4.0]]})


@pytest.mark.parametrize(
    ("redirect", "expected"),
    [
        ("v2", b'"extensions"'),
        ("v2/models/m", b'"inputs"'),
        ("v2/models/m/ready", b'"ready":true'),
        ("v2/models/m/versions/1/config", b'"max_batch_size"'),
        ("v2/models/stats", b'"model_stats"'),
        ("v2/health/ready", b'"ready"'),
        ("v2/repository/index", b'"state"'),
        ("v2/trace/setting", b'"trace_level"'),
        ("metrics", b"# TYPE tensorhost_"),
    ],
)
async def test_a_redirect_is_asked_by_the_method_of_its_route(redirect, expected):
    cloud = Cloud(vertex_predict_route="/predict/here")
    status, answer, _ = await cloud.ask("POST", "/predict/here", x_vertex_ai_triton_redirect=redirect)
    assert (status, expected in answer) == (200, True), answer


async def test_a_redirect_opens_nothing():
    cloud = Cloud(vertex_predict_route="/predict/here", admin_token="sesame")
    for redirect in ("v2/repository/models/m/unload", "v2/logging"):
        asked = cloud.ask("POST", "/predict/here", b"{}", x_vertex_ai_triton_redirect=redirect)
        assert (await asked)[0] == 401
    assert (await cloud.ask("POST", "/predict/here", x_vertex_ai_triton_redirect="v2/nope"))[0] == 404


async def test_bodies_have_our_limit_and_not_vertex_ai_s():
    cloud = Cloud(vertex_predict_route="/predict/here")
    body = INSTANCES + b" " * 3 * 2**20
    assert (await cloud.ask("POST", "/predict/here", body, content_type="application/json"))[0] == 200


async def test_many_models(tmp_path):
    cloud = several(allowed_roots=(tmp_path,))
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "saved_model.pb").write_bytes(b"")

    def load(name="a", url=str(tmp_path / "a"), **more):
        return cloud.ask("POST", "/models", json.dumps({"model_name": name, "url": url} | more).encode())

    assert (await load("m"))[0] == 409
    assert (await load(url=str(tmp_path / "none")))[0] == 404
    assert (await load(url="/etc"))[0] == 403
    assert (await load("../x"))[0] == 400
    assert (await load(other=1))[0] == 400
    assert (await cloud.ask("POST", "/models", b"{"))[0] == 400
    assert (await cloud.ask("POST", "/models", b'{"url": "x"}'))[0] == 400
    assert cloud.group.asked == []
    for failure, expected in (
        (OutOfMemoryError("no room"), 507),
        (LoadTimeoutError("late"), 408),
        (AlreadyLoadedError("twice"), 409),
    ):
        cloud.group.failure = failure
        assert (await load())[0] == expected
    assert cloud.group.asked == [("load", "a", str(tmp_path / "a"))] * 3

    described = {"modelName": "m", "modelUrl": "m"}
    assert json.loads((await cloud.ask("GET", "/models"))[1]) == {"models": [described]}
    assert json.loads((await cloud.ask("GET", "/models/m"))[1]) == described
    assert (await cloud.ask("GET", "/models/a"))[0] == 404
    assert (await cloud.ask("DELETE", "/models/a"))[0] == 404
    assert (await cloud.ask("DELETE", "/models/m"))[0] == 200
    assert cloud.group.asked[-1] == ("unload", "m")

    status, answer, _ = await cloud.ask("POST", "/models/m/invoke", b"1.0,2.0", content_type="text/csv")
    assert (status, json.loads(answer)) == (200, {"predictions": [[2.0, 4.0]]})
    assert (await cloud.ask("POST", "/models/a/invoke", INSTANCES))[0] == 404
    # What the native API has below /models stays where its methods differ.
    assert (await cloud.ask("POST", "/models/m/unload"))[0] == 200
    assert b'"VERSION_NOT_FOUND"' in (await cloud.ask("GET", "/models/m/versions/9"))[1]
    assert (await cloud.ask("PUT", "/models"))[0] == 405


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (["saved_model.pb"], ("", None)),
        (["1/saved_model.pb", "10/saved_model.pb", "2/saved_model.pb", "notes.txt"], ("10", "10")),
        (["inner/3/saved_model.pb"], ("inner/3", "3")),
        (["inner/saved_model.pb"], ("inner", None)),
        (["inner/3/saved_model.pb", "notes.txt"], ("", None)),
        (["one/x", "two/x"], ("", None)),
        (["a/b/c/d/1/x"], ("a/b/c", None)),
    ],
)
async def test_archives_lie_as_they_were_packed(tmp_path, files, found):
    root = tmp_path / "model"
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(b"")
    cloud = several(allowed_roots=(tmp_path,))
    cloud.group.failure = OutOfMemoryError("enough seen")
    await cloud.ask("POST", "/models", json.dumps({"model_name": "a", "url": str(root)}).encode())
    assert cloud.group.asked == [("load", "a", str(root / found[0]))]
    assert cloud.group.version == found[1]


CALLS = [("POST", "/models"), ("GET", "/models"), ("GET", "/models/m"), ("DELETE", "/models/m")]


@pytest.mark.parametrize(("method", "path"), CALLS)
async def test_calls_for_many_models_are_control_calls(method, path):
    closed = several(host="0.0.0.0")
    assert (await closed.ask(method, path, b"{}"))[0] == 403
    for token in ({}, {"admin_token": ""}):
        # A variable that is there and empty is no token.
        opened = several(host="0.0.0.0", open_control=True, **token)
        assert (await opened.ask(method, path, b"{}"))[0] not in (401, 403)
    with_token = several(host="0.0.0.0", open_control=True, admin_token="sesame")
    assert (await with_token.ask(method, path, b"{}"))[0] == 401
    assert (await with_token.ask(method, path, b"{}", authorization="Bearer sesame"))[0] not in (401, 403)
    assert (await closed.ask("POST", "/models/m/invoke", INSTANCES))[0] == 200


async def test_routes_are_there_only_where_they_are_wanted():
    cloud = Cloud(vertex_health_route="/alive")
    assert cloud.app.routes == [("GET", "/alive")]
    for method, path in (("GET", "/ping"), ("POST", "/invocations"), ("DELETE", "/models/m")):
        assert (await cloud.ask(method, path))[0] in (404, 405)
    assert set(several().app.routes) == {
        ("GET", "/ping"),
        ("POST", "/invocations"),
        ("GET", "/models"),
        ("POST", "/models"),
        ("GET", "/models/{name}"),
        ("DELETE", "/models/{name}"),
        ("POST", "/models/{name}/invoke"),
    }


def test_binary_types():
    for cloud in ("sagemaker-triton", "vertex-ai-triton"):
        kind = f"application/vnd.{cloud}.binary+json;json-header-size="
        assert binary_type(f"{kind}12") == (kind, 12)
        assert binary_type(f"{kind}12".upper().replace(";", " ; ")) == (kind, 12)
    assert binary_type("application/json") is None
