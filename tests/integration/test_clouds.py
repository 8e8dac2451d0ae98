"""A server in a container of SageMaker and Vertex AI, told so by their variables, that has no model at first."""

import json
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from native_server import RunningServer

SAGEMAKER = {"Content-Type": "application/json"}
INSTANCES = {"instances": [[1.0, 2.0, 3.0, 4.0]]}


@pytest.fixture(scope="module")
def greedy(tf, tmp_path_factory):
    """A model that fills a gigabyte when it is run."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def fill(x):
        return {"y": x + tf.reduce_sum(tf.fill([250_000_000], x[0]))}

    folder = tmp_path_factory.mktemp("greedy")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tf.saved_model.save(tf.Module(), str(folder / "1"), signatures=fill)
    return folder


@pytest.fixture(scope="module")
def clouds(oip_repository, greedy, tmp_path_factory):
    """Reached from this machine only, whatever the clouds' variables say, so that the tests may control it."""
    environment = {
        "SAGEMAKER_MULTI_MODEL": "true",
        "SAGEMAKER_BIND_TO_PORT": "8080",
        "AIP_HTTP_PORT": "8080",
        "AIP_HEALTH_ROUTE": "/v1/endpoints/1/deployedModels/2",
        "AIP_PREDICT_ROUTE": "/v1/endpoints/1/deployedModels/2:predict",
        "HOST": "127.0.0.1",
        "MODEL_PATH": str(tmp_path_factory.mktemp("clouds") / "absent"),
        "TENSORHOST_CONTAINER_MODEL": "identity",
        "TENSORHOST_OIP_METRICS": "true",
    }
    roots = f"{oip_repository}:{greedy}"
    options = ("--allowed-roots", roots, "--probe-memory", "500MB", "--poll-interval-s", 0, "--settle-s", 0)
    with RunningServer(*options, **environment) as running:
        running.wait_for("ready")
        yield running
        assert running.process.poll() is None, "the server died"
        assert running.stop() == 0


@pytest.fixture(scope="module")
def loaded(clouds, oip_repository):
    """The same with the model ``identity``, loaded as SageMaker loads it."""
    assert clouds.get("/ping").status == 200
    assert clouds.get("/models").json == {"models": []}
    assert clouds.request("POST", "/models/identity/invoke", INSTANCES).status == 404
    url = str(oip_repository / "identity")
    wanted = {"model_name": "identity", "url": url}
    with ThreadPoolExecutor(4) as asking:
        answers = list(asking.map(lambda _: clouds.request("POST", "/models", wanted), range(4)))
    answers.append(clouds.request("POST", "/models", wanted))
    [loaded] = [answer for answer in answers if answer.status == 200]
    assert loaded.json == {"modelName": "identity", "modelUrl": url}
    others = [(answer.status, answer.json) for answer in answers if answer is not loaded]
    assert others == [(409, {"error": "Model identity is already loaded."})] * 4
    return clouds


def test_sagemaker_asks_models(loaded):
    for path in ("/invocations", "/models/identity/invoke"):
        for content_type, body in (
            ("application/json", json.dumps(INSTANCES).encode()),
            ("text/csv", b"1.0,2.0,3.0,4.0\n"),
            ("application/jsonlines", b"[1.0,2.0,3.0,4.0]\n"),
        ):
            answer = loaded.request("POST", path, body, Content_Type=content_type)
            assert (answer.status, answer.json) == (200, {"predictions": [[2.0, 4.0, 6.0, 8.0]]})
    refused = loaded.request("POST", "/invocations", b"x", Content_Type="text/plain")
    assert (refused.status, set(refused.json)) == (415, {"error"})
    [described] = loaded.get("/models").json["models"]
    assert described == loaded.get("/models/identity").json


@pytest.mark.parametrize(
    ("content_type", "body", "text"),
    [
        ("application/json", b'[[1,2,3,4]],"signature_name":"x"', "JSON Parse error"),
        ("application/json", b"[[1,2,3,4]]}", "JSON Parse error"),
        ("application/jsonlines", b"[1,2,3,4]\n[1,2\n3,4]\n", "Line 2: JSON Parse error"),
        ("text/csv", b"1,2,3,4\n1,2,3\n", "The rows of the CSV differ"),
        ("text/csv", b"a,b,c,d\n1,2,3,4\n", "Failed to process element: 0 of 'instances' list."),
    ],
)
def test_what_is_no_list_of_instances_becomes_part_of_nothing(loaded, content_type, body, text):
    answer = loaded.request("POST", "/invocations", body, Content_Type=content_type)
    assert (answer.status, answer.json["error"][: len(text)]) == (400, text)


def test_vertex_asks_models(loaded):
    assert loaded.get("/v1/endpoints/1/deployedModels/2").status == 200
    path = "/v1/endpoints/1/deployedModels/2:predict"
    answer = loaded.request("POST", path, INSTANCES | {"parameters": {}}, Content_Type="application/json")
    assert (answer.status, answer.json) == (200, {"predictions": [[2.0, 4.0, 6.0, 8.0]]})
    head = {
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "parameters": {"binary_data_size": 16}}],
        "parameters": {"binary_data_output": True},
    }
    raw = json.dumps(head).encode()
    kind = "application/vnd.vertex-ai-triton.binary+json;json-header-size="
    body = raw + np.float32([1, 2, 3, 4]).tobytes()
    answer = loaded.request("POST", path, body, Content_Type=f"{kind}{len(raw)}")
    size = int(answer.headers["content-type"].removeprefix(kind))
    assert np.frombuffer(answer.body[size:], np.float32).tolist() == [2.0, 4.0, 6.0, 8.0]
    redirected = loaded.request("POST", path, X_Vertex_Ai_Triton_Redirect="v2/models/identity/infer", body=b"{")
    assert (redirected.status, set(redirected.json)) == (400, {"error"})
    described = loaded.request("POST", path, X_Vertex_Ai_Triton_Redirect="v2/models/identity", body=b"{}")
    assert (described.status, described.json["name"]) == (200, "identity")
    counted = loaded.request("POST", path, X_Vertex_Ai_Triton_Redirect="metrics")
    assert b"nv_inference_count" in counted.body


def test_statistics_and_metrics_say_the_same(loaded):
    wrong = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]}
    assert loaded.request("POST", "/v2/models/identity/infer", wrong).status == 400
    assert loaded.request("POST", "/invocations", INSTANCES, Content_Type="application/json").status == 200
    [stats] = loaded.get("/v2/models/identity/stats").json["model_stats"]
    lines = loaded.get("/metrics", Accept="text/plain").body.decode().splitlines()
    counted = {
        name: float(line.rsplit(" ", 1)[1])
        for line in lines
        for name in [line.partition("{")[0]]
        if name.startswith("nv_") and 'model="identity"' in line and "reason" not in line
    }
    timed = stats["inference_stats"]
    assert counted["nv_inference_request_success"] == timed["success"]["count"] > 0
    assert counted["nv_inference_count"] == stats["inference_count"]
    assert counted["nv_inference_exec_count"] == stats["execution_count"]
    for part in ("success", "queue", "compute_input", "compute_infer", "compute_output"):
        name = "request" if part == "success" else part
        assert counted[f"nv_inference_{name}_duration_us"] == pytest.approx(timed[part]["ns"] / 1000, abs=1)
    failed = sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("nv_inference_request_failure{"))
    assert failed == timed["fail"]["count"] > 0
    assert sum(each["compute_infer"]["count"] for each in stats["batch_stats"]) == stats["execution_count"]


def test_a_model_that_memory_does_not_suffice_for_is_not_tried_again(loaded, greedy):
    answer = loaded.request("POST", "/models", {"model_name": "greedy", "url": str(greedy)})
    assert (answer.status, "bytes of memory" in answer.json["error"]) == (507, True)
    assert [each["modelName"] for each in loaded.get("/models").json["models"]] == ["identity"]
    # What an operator sees of it: it is unloaded, and nothing wants it back.
    index = loaded.request("POST", "/v2/repository/index").json
    assert {"name": "greedy", "version": "1", "state": "UNAVAILABLE"}.items() <= index[0].items()


def test_a_model_goes_when_sagemaker_wants_it_to(loaded, oip_repository):
    url = str(oip_repository / "simple")
    assert loaded.request("POST", "/models", {"model_name": "other", "url": url}).status == 200
    assert loaded.request("DELETE", "/models/other").status == 200
    assert loaded.request("DELETE", "/models/other").status == 404
    assert loaded.get("/models/other").status == 404
    assert [each["modelName"] for each in loaded.get("/models").json["models"]] == ["identity"]
    for wrong, status in (({"url": "/etc"}, 403), ({"url": f"{url}-absent"}, 404), ({"model_name": "a/b"}, 400)):
        assert loaded.request("POST", "/models", {"model_name": "x", "url": url} | wrong).status == status
