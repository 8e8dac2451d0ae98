"""What the dashboard's page asks for, from a real server over real sockets. The page itself: tests/browser."""

from __future__ import annotations

import http.client
import json
import os
import signal

import pytest
from native_models import write_constant
from native_server import TIMEOUT_S, RunningServer

QUICK = ("--no-probe", "--settle-s", 0, "--drain-window-s", 0.2)
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
TOKEN = "correct horse"


@pytest.fixture(scope="module")
def models(tf, tmp_path_factory):
    """``two``: versions 1 and 2, of which 1 is ``stable``."""
    base = tmp_path_factory.mktemp("dashboard")
    for version in ("1", "2"):
        write_constant(tf, base / "two" / version, float(version))
    (base / "two" / "model.toml").write_text('version_policy = "all"\nversion_labels = { stable = "1" }\n')
    return base


@pytest.fixture(scope="module")
def server(models):
    with RunningServer(models, *QUICK) as running:
        running.wait_for("ready")
        yield running
        assert running.stop() == 0


@pytest.fixture(scope="module")
def pair(models):
    with RunningServer(models, "--workers", 2, *QUICK) as running:
        running.wait_for("ready")
        yield running
        assert running.stop() == 0


class Stream:
    """The events of an open page, as they come."""

    def __init__(self, server):
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT_S)
        self.connection.request("GET", "/dashboard/events")
        self.response = self.connection.getresponse()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.connection.close()

    def wait_for_quiet(self, model):
        """Return when what other tests have asked of a model has been told."""
        self.next("sample")  # ended before the page was opened
        self.next("sample", lambda sample: not rows(sample, model))

    def next(self, name, condition=lambda data: True):
        """The data of the next event of that name that fits."""
        event = None
        for raw in self.response:
            line = raw.decode().rstrip("\n")
            if line.startswith("event: "):
                event = line.removeprefix("event: ")
            elif line.startswith("data: ") and event == name:
                data = json.loads(line.removeprefix("data: "))
                if condition(data):
                    return data
        raise AssertionError(f"the stream ended without {name}")


def rows(sample, model):
    return [row for row in sample["versions"] if row["model"] == model]


def label(server, label, version, **headers):
    return server.request("POST", "/models/two/labels", {"label": label, "version": version}, **headers)


def test_browsers_get_the_page_and_others_a_name(server):
    page = server.get("/", Accept=BROWSER)
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    again = server.get("/", Accept=BROWSER, If_None_Match=page.headers["etag"])
    assert (again.status, again.body) == (304, b"")
    for accept in ("*/*", "application/json", ""):
        said = server.get("/", Accept=accept).json
        assert (said["name"], said["status"]) == ("tensorhost", "alive")


@pytest.mark.parametrize("path", ["/dashboard/nothing.js", "/dashboard/../settings.py", "/dashboard/%2e%2e/app.py"])
def test_there_are_no_other_files(server, path):
    assert server.get(path).error["code"] == "NOT_FOUND"


def test_a_page_is_told_what_happens(server):
    with Stream(server) as stream:
        assert stream.response.status == 200
        assert stream.response.getheader("content-type") == "text/event-stream"
        assert stream.response.getheader("x-accel-buffering") == "no"
        described = stream.next("models")
        assert [model["name"] for model in described["models"]] == ["two"]
        assert {each["version"]: each["state"] for each in described["models"][0]["versions"]} == {
            "1": "AVAILABLE",
            "2": "AVAILABLE",
        }
        stream.wait_for_quiet("two")
        for _ in range(3):
            server.predict("two", [0.0])
        sample = stream.next("sample", lambda sample: rows(sample, "two"))
        counted = rows(sample, "two")[0]["requests"]
        while counted < 3:
            counted += sum(row["requests"] for row in rows(stream.next("sample"), "two"))
        assert counted == 3
        refused = server.refuse("two", ["x"])
        errors = stream.next("errors", lambda data: data["errors"] and data["errors"][0]["model"] == "two")
        assert errors["errors"][0]["requestId"] == refused["requestId"]
        assert server.get("/dashboard/errors").json == errors


def test_what_happened_before_the_page_was_opened_is_there(server):
    server.predict("two", [0.0], modelVersion="1")
    with Stream(server) as stream:
        seen = stream.next("sample", lambda sample: True)
        stream.next("sample", lambda sample: sample["sequence"] > seen["sequence"])
    history = server.get("/dashboard/history?resolution=fine").json
    assert history["resolution"] == "fine"
    numbers = [sample["sequence"] for sample in history["samples"]]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert any(row["version"] == "1" for sample in history["samples"] for row in rows(sample, "two"))
    assert server.get("/dashboard/history?resolution=coarse").status == 200
    assert server.get("/dashboard/history?resolution=wrong").error["code"] == "INVALID_REQUEST"


def test_a_version_shows_when_it_was_last_used(server):
    assert server.request("POST", "/models/two/unload", {"version": "2"}).status == 200
    assert server.request("POST", "/models/two/load", {"version": "2"}).json["lastUsedAt"] is None
    server.predict("two", [0.0])
    (model,) = server.get("/dashboard/models").json["models"]
    used = {each["version"]: each["lastUsedAt"] for each in model["versions"]}
    assert used["2"].endswith("Z")


def test_labels_move(server):
    assert server.predict("two", [0.0], modelVersion="stable")["modelVersion"] == "1"
    moved = label(server, "stable", "2")
    assert (moved.status, moved.json["allVersionLabels"]) == (200, {"stable": "2"})
    assert server.predict("two", [0.0], modelVersion="stable")["modelVersion"] == "2"
    assert label(server, "stable", None).json["allVersionLabels"] == {"stable": "1"}
    assert label(server, "stable", "7").error["code"] == "VERSION_NOT_FOUND"
    assert label(server, "2", "1").error["code"] == "INVALID_REQUEST"
    assert label(server, None, "1").error["code"] == "INVALID_REQUEST"
    assert label(server, "stable", 1).error["code"] == "INVALID_REQUEST"
    assert label(server, "stable", "1", Origin="http://elsewhere.example").error["code"] == "PERMISSION_DENIED"


def test_an_open_page_does_not_keep_the_server_from_stopping(models):
    with RunningServer(models, *QUICK) as server:
        server.wait_for("ready")
        with Stream(server) as stream:
            stream.next("models")
            server.process.send_signal(signal.SIGTERM)
            stream.next("bye")
            assert stream.response.read().strip() == b""
            assert server.process.wait(TIMEOUT_S) == 0


def test_pages_have_a_limit_and_those_that_leave_make_room(server):
    streams = [Stream(server) for _ in range(64)]
    for stream in streams:
        stream.next("models")
    refused = server.get("/dashboard/events")
    assert (refused.status, refused.error["code"], refused.headers["retry-after"]) == (503, "OVERLOADED", "10")
    for stream in streams:
        stream.connection.close()
    answers = iter(lambda: server.request("HEAD", "/dashboard/events").status, None)
    assert next(answers) == 200
    opened = None
    while opened is None or opened.response.status != 200:
        opened = Stream(server)
    opened.next("models")
    opened.connection.close()


def test_a_server_can_do_without(models):
    with RunningServer(models, "--no-dashboard", *QUICK) as server:
        server.wait_for("ready")
        assert server.get("/", Accept=BROWSER).error["code"] == "NOT_FOUND"
        assert server.get("/dashboard/events").error["code"] == "NOT_FOUND"
        assert server.stop() == 0


@pytest.mark.parametrize(
    ("host", "token", "needs"),
    [("127.0.0.1", "", "nothing"), ("0.0.0.0", "", "off"), ("0.0.0.0", TOKEN, "token"), ("127.0.0.1", TOKEN, "token")],
)
def test_the_page_is_told_whether_it_may_control(models, host, token, needs):
    with RunningServer(models, "--host", host, *QUICK, TENSORHOST_ADMIN_TOKEN=token) as server:
        server.wait_for("ready")
        assert server.get("/dashboard/server").json["controlNeeds"] == needs
        statuses = [label(server, "new", "1", Authorization=f"Bearer {given}").status for given in (TOKEN, "wrong")]
        assert statuses == {"nothing": [200, 200], "off": [403, 403], "token": [200, 401]}[needs]


def test_several_workers_have_one_past_and_move_labels_together(pair):
    with Stream(pair) as stream:
        stream.wait_for_quiet("two")
        for number in range(20):
            pair.predict("two", [0.0], timeoutMs=60_000 + number)
        counted = 0
        while counted < 20:
            counted += sum(row["requests"] for row in rows(stream.next("sample"), "two"))
        assert counted == 20
        pair.refuse("two", ["x"])
        stream.next("errors", lambda data: bool(data["errors"]))
        assert label(pair, "stable", "2").status == 200
        assert {pair.predict("two", [0.0], modelVersion="stable")["modelVersion"] for _ in range(20)} == {"2"}
        assert pair.get("/dashboard/server").json["workers"]["count"] == 2
        assert sum(pair.get("/dashboard/errors").json["errors"][0]["code"] == "INVALID_INPUT_TYPE" for _ in "1234") == 4


def test_a_worker_that_takes_the_place_of_another_has_the_labels_too(pair):
    import psutil

    assert label(pair, "kept", "1").status == 200
    children = psutil.Process(pair.process.pid).children()
    victim = next(child for child in children if "tensorhost.server.workers.worker" in child.cmdline())
    os.kill(victim.pid, signal.SIGKILL)
    pair.wait_for_count("worker ready", 3)
    assert {pair.predict("two", [0.0], modelVersion="kept")["modelVersion"] for _ in range(20)} == {"1"}
