"""Loading and unloading over HTTP, on real servers: what it does, who may, and which paths."""

from __future__ import annotations

import pytest
from native_models import write_constant
from native_server import RunningServer

TOKEN = "a-token-of-the-tests"


def control(server, action, model, body=None, **headers):
    return server.request("POST", f"/models/{model}/{action}", body or {}, **headers)


def test_unload_load_and_reload(server):
    spare = {"modelName": "spare", "inputs": [1.0]}
    assert server.predict("spare", [1.0])["predictions"] == [2.0]
    answer = control(server, "unload", "spare")
    assert (answer.status, answer.json["state"]) == (200, "END")
    refused = server.request("POST", "/predict", spare)
    assert (refused.status, refused.error["code"]) == (503, "MODEL_NOT_READY")
    assert "unloaded" in refused.error["message"]
    assert "spare" not in {model["name"] for model in server.get("/models").json["models"]}
    loaded = control(server, "load", "spare", {"version": "1"})
    assert (loaded.status, loaded.json["state"], loaded.json["version"]) == (200, "AVAILABLE", "1")
    assert server.predict("spare", [1.0])["predictions"] == [1.0]
    assert control(server, "load", "spare").status == 200
    assert server.predict("spare", [1.0])["predictions"] == [2.0]
    assert server.predict("spare", [1.0], modelVersion="first")["predictions"] == [1.0]
    assert control(server, "load", "spare").status == 200


@pytest.mark.parametrize(
    "form", ["linear", "linear/1", "./linear", "file://./linear", "{root}/linear", "file://{root}/linear"]
)
def test_a_path_under_the_model_path(server, repository, form):
    name = f"by-path-{abs(hash(form))}"
    answer = control(server, "load", name, {"path": form.format(root=repository), "version": "7"})
    assert answer.status == 200, answer.body
    assert server.predict(name, [[1, 2, 3]])["modelVersion"] == "7"
    assert control(server, "unload", name).status == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("../outside", 403),
        ("linear/../../outside", 403),
        ("/etc", 403),
        ("file:///etc/passwd", 403),
        ("file://localhost/etc", 403),
        ("file://../outside", 403),
        ("file:///%2e%2e/etc", 403),
        ("//etc", 403),
        ("..\\outside", 400),
        ("linear\0", 400),
        ("file:///linear%00", 400),
        ("file://[", 400),
        ("x" * 5000, 400),
        ("http://example.org/model", 400),
        ("gs://bucket/model", 400),
        ("file://host/etc", 400),
        ("%2e%2e/outside", 400),
        ("%252e%252e/outside", 400),
        ("..%2foutside", 400),
        ("", 400),
        (".", 400),
        ("nothing-there", 400),
        (5, 400),
    ],
)
def test_paths_that_are_refused(server, path, status):
    answer = control(server, "load", "refused", {"path": path})
    assert answer.status == status, answer.body
    assert answer.error["code"] == ("PERMISSION_DENIED" if status == 403 else "INVALID_REQUEST")
    assert server.get("/models/refused").status == 404


@pytest.mark.parametrize(
    ("model", "body", "status", "code"),
    [
        ("none", {}, 404, "MODEL_NOT_FOUND"),
        ("linear", {"version": "9"}, 404, "VERSION_NOT_FOUND"),
        ("linear", {"version": "../1"}, 400, "INVALID_REQUEST"),
        ("linear", {"version": 1}, 400, "INVALID_REQUEST"),
        ("linear", {"versions": "1"}, 400, "INVALID_REQUEST"),
        ("linear", [], 400, "INVALID_REQUEST"),
        ("linear", {"path": "digits"}, 400, "INVALID_REQUEST"),
        ("%2e%2e", {}, 400, "INVALID_REQUEST"),
        ("corrupt", {}, 503, "MODEL_NOT_READY"),
        ("half", {}, 503, "MODEL_NOT_READY"),
        ("empty", {}, 500, "MODEL_FAILED"),
    ],
)
def test_loads_that_fail_say_why(server, model, body, status, code):
    answer = server.request("POST", f"/models/{model}/load", b"[]" if body == [] else body)
    assert (answer.status, answer.error["code"]) == (status, code)
    assert str(server.process.args[2]) not in answer.body.decode()


@pytest.fixture(scope="module")
def open_repository(tf, tmp_path_factory):
    """A repository with one small model, one symlink out of it, and a symlink that leads to it."""
    base = tmp_path_factory.mktemp("open")
    write_constant(tf, base / "models" / "one" / "1", 1.0)
    write_constant(tf, base / "outside" / "1", 2.0)
    (base / "models" / "escape").symlink_to(base / "outside" / "1")
    (base / "linked").symlink_to(base / "models")
    return base


def test_a_server_open_to_the_network_controls_nothing_without_a_token(open_repository):
    for environment in ({}, {"TENSORHOST_ADMIN_TOKEN": ""}):
        with RunningServer(open_repository / "models", "--no-probe", "--host", "0.0.0.0", **environment) as server:
            server.wait_for("listening")
            for action in ("load", "unload"):
                for headers in ({}, {"Authorization": "Bearer "}, {"Authorization": "Bearer x"}):
                    answer = control(server, action, "one", **headers)
                    assert (answer.status, answer.error["code"]) == (403, "PERMISSION_DENIED")


def test_a_token_opens_the_control_routes_and_symlinks_are_followed_before_paths_are_judged(open_repository):
    environment = {"TENSORHOST_ADMIN_TOKEN": TOKEN}
    with RunningServer(
        open_repository / "linked", "--no-probe", "--host", "0.0.0.0", "--settle-s", 0, **environment
    ) as server:
        server.wait_for("ready")
        for wrong in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}, {"Authorization": "Basic x"}):
            answer = control(server, "unload", "one", **wrong)
            assert (answer.status, answer.error["code"]) == (401, "UNAUTHENTICATED")
            assert answer.headers["www-authenticate"] == "Bearer"
        assert server.predict("one", [0.0])["predictions"] == [1.0]
        right = {"Authorization": f"Bearer {TOKEN}"}
        for path in ("escape", str(open_repository / "linked" / "escape"), str(open_repository / "outside" / "1")):
            answer = control(server, "load", "new", {"path": path}, **right)
            assert (answer.status, answer.error["code"]) == (403, "PERMISSION_DENIED")
        for path in ("one", str(open_repository / "linked" / "one"), str(open_repository / "models" / "one")):
            assert control(server, "load", "new", {"path": path}, **right).status == 200
        assert control(server, "unload", "one", **right).status == 200
        assert TOKEN not in str(server.records)
