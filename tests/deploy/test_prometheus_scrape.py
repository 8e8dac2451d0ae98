"""A real Prometheus, as Debian packages it, scrapes a real server under a little traffic."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from known_metrics import PROMETHEUS, panel_expressions, rules, series
from tests.integration.native_server import RunningServer

import tensorhost
from tensorhost.demo import samples
from tensorhost.telemetry.definitions import METRICS

DEMO_MODELS = Path(tensorhost.__file__).parent / "demo" / "models"
_TIMEOUT_S = 60.0
_JOBS = ("tensorhost", "open-metrics", "plain-text")
_EVERY = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}


@dataclass
class Prometheus:
    """A running Prometheus, asked over its API."""

    url: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        answer = httpx.get(f"{self.url}/api/v1/query", params={"query": expression}, timeout=_TIMEOUT_S).json()
        assert answer["status"] == "success", (expression, answer)
        return answer["data"]["result"]

    def get(self, path: str) -> Any:
        return httpx.get(f"{self.url}/api/v1/{path}", timeout=_TIMEOUT_S).raise_for_status().json()["data"]


def wait_until(what: Callable[[], Any]) -> Any:
    """What ``what`` returns as soon as that is true."""
    give_up_at = time.monotonic() + _TIMEOUT_S
    tried = threading.Event()
    while True:
        found = what()
        if found:
            return found
        assert time.monotonic() < give_up_at, f"never became true: {what}"
        tried.wait(0.1)


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[RunningServer]:
    """The demo models, with a request log for one of them: without one its metric would have no samples."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "models.config").write_text(_model_config(folder / "digits-log"), encoding="utf-8")
    settings = {"TENSORHOST_PROBE": "false", "TENSORHOST_DRAIN_WINDOW_S": "0", "TENSORHOST_TARGET_LATENCY_MS": "1000"}
    with RunningServer("--model-config-file", folder / "models.config", **settings) as running:
        running.wait_for("ready")
        yield running
        assert running.stop() == 0


def _model_config(log: Path) -> str:
    logging = (
        f"logging_config {{ sampling_config {{ sampling_rate: 1 }} "
        f"log_collector_config {{ type: 'tfrecord' filename_prefix: '{log}' }} }}"
    )
    models = [
        f"config {{ name: '{folder.name}' base_path: '{folder}' model_platform: 'tensorflow' "
        f"{logging if folder.name == 'digits' else ''} }}"
        for folder in sorted(DEMO_MODELS.iterdir())
    ]
    return f"model_config_list {{ {' '.join(models)} }}"


class _Scraped:
    """Passes scrapes on to the server and keeps what went by: one path offers OpenMetrics, the other does not."""

    def __init__(self, target: str) -> None:
        self.types: dict[str, set[str]] = {"/metrics": set(), "/plain": set()}
        passed = self.types

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                accept = self.headers["Accept"] if self.path == "/metrics" else "text/plain;version=0.0.4"
                answer = httpx.get(f"{target}/metrics", headers={"Accept": accept}, timeout=_TIMEOUT_S)
                passed[self.path].add(answer.headers["content-type"])
                self.send_response(answer.status_code)
                self.send_header("Content-Type", answer.headers["content-type"])
                self.send_header("Content-Length", str(len(answer.content)))
                self.end_headers()
                with suppress(ConnectionError):  # on a busy machine a scrape may be given up
                    self.wfile.write(answer.content)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = False  # closing it waits for scrapes under way
        self.address = f"127.0.0.1:{self.server.server_port}"


@pytest.fixture(scope="module")
def scraped(server) -> Iterator[_Scraped]:
    scraped = _Scraped(f"http://127.0.0.1:{server.port}")
    thread = threading.Thread(target=scraped.server.serve_forever, args=(0.05,))
    thread.start()
    yield scraped
    scraped.server.shutdown()
    thread.join()
    scraped.server.server_close()


@pytest.fixture(scope="module")
def prometheus(server, scraped, tmp_path_factory) -> Iterator[Prometheus]:
    """Our own configuration, with the server's address in it and scrapes often enough for a test."""
    folder = tmp_path_factory.mktemp("prometheus")
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text(encoding="utf-8"))
    config["global"] = _EVERY
    config["rule_files"] = [str(PROMETHEUS / "rules" / "*.yml")]
    (job,) = config["scrape_configs"]
    job["static_configs"] = [{"targets": [f"127.0.0.1:{server.port}"]}]
    for name, path in (("open-metrics", "/metrics"), ("plain-text", "/plain")):
        config["scrape_configs"].append(
            {"job_name": name, "metrics_path": path, "static_configs": [{"targets": [scraped.address]}]}
        )
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with subprocess.Popen(
        [
            "prometheus",
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address={address}",
            "--log.level=warn",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            wait_until(lambda: _is_ready(f"http://{address}", process))
            yield Prometheus(f"http://{address}")
        finally:
            process.terminate()
            process.communicate(timeout=_TIMEOUT_S)


def _is_ready(url: str, process: subprocess.Popen[str]) -> bool:
    assert process.poll() is None, process.stderr.read() if process.stderr else ""
    try:
        return httpx.get(f"{url}/-/ready").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def traffic(server, prometheus) -> None:
    """Some requests, good and bad, and then scrapes and evaluations that have seen them twice."""
    logged = {"instances": [samples()["digits"][0]["input"]]}
    assert server.request("POST", "/v1/models/digits:predict", logged).status == 200
    for count in range(2):
        for _ in range(20):
            server.predict("wine", [[1.0] * 13])
        server.batch("wine", [{"inputs": [[1.0] * 13]}] * 40)
        server.refuse("wine", [[1.0]])
        server.refuse("nothing", [[1.0]])
        least = 61 * (count + 1)
        wait_until(lambda least=least: _seen_by_all(prometheus, least))
    wait_until(lambda: prometheus.query('job_model_version:tensorhost_error_ratio:rate5m{model="wine"}'))


def _seen_by_all(prometheus: Prometheus, least: int) -> bool:
    """Whether each job has scraped what was sent last."""
    return len(prometheus.query(f'tensorhost_requests_total{{model="wine"}} >= {least}')) == len(_JOBS)


def _value(prometheus: Prometheus, name: str, model: str) -> float:
    found = prometheus.query(f'{name}{{job="tensorhost", model="{model}"}}')
    return float(found[0]["value"][1]) if found else 0.0


def test_the_targets_are_up(prometheus, traffic):
    # One scrape may be given up on a busy machine; each job succeeds sooner or later.
    for job in _JOBS:
        wait_until(lambda job=job: prometheus.query(f'up{{job="{job}"}} == 1'))
    assert len(prometheus.get("targets")["activeTargets"]) == len(_JOBS)


def test_every_metric_is_there_under_its_documented_name_and_labels(prometheus, traffic):
    known = series()
    for name in sorted(name for name in known if name.startswith("tensorhost_")):
        found = prometheus.query(f'{name}{{job="tensorhost"}}')
        assert found, name
        assert {label for each in found for label in each["metric"]} - {"__name__"} == known[name], name


def test_counters_count_what_was_sent(prometheus, server, traffic):
    version = server.metrics()["models"]["wine"]["1"]
    assert _value(prometheus, "tensorhost_requests_total", "wine") == version["requestCount"] == 122
    errors = prometheus.query('tensorhost_errors_total{job="tensorhost", code="MODEL_NOT_FOUND"} > 0')
    assert [(each["metric"]["model"], each["value"][1]) for each in errors] == [("_unknown", "2")]


def test_both_forms_are_negotiated_and_say_the_same(prometheus, scraped, traffic):
    assert scraped.types["/metrics"] == {"application/openmetrics-text; version=1.0.0; charset=utf-8"}
    assert scraped.types["/plain"] == {"text/plain; version=0.0.4; charset=utf-8"}
    for metric in METRICS:
        if metric.kind == "counter":
            wait_until(lambda name=metric.name: _all_say_the_same(prometheus, name))


def _all_say_the_same(prometheus: Prometheus, counter: str) -> bool:
    """Whether all jobs have the counter and count the same; some may just not have scraped what others have."""
    sums = prometheus.query(f"sum by (job) ({counter})")
    return len(sums) == len(_JOBS) and len({each["value"][1] for each in sums}) == 1


def test_prometheus_knows_kind_and_meaning(prometheus, traffic):
    metadata = prometheus.get("metadata")
    for metric in METRICS:
        # OpenMetrics names families without the ending; the other form has no infos, so there it is a gauge.
        names = {metric.name, re.sub("_(total|info)$", "", metric.name)}
        entries = [entry for name in names for entry in metadata.get(name, ())]
        assert metric.kind in {entry["type"] for entry in entries}, metric.name
        assert {metric.help} == {entry["help"] for entry in entries}, metric.name


def test_rules_are_evaluated_without_errors_and_nothing_is_alarmed(prometheus, traffic):
    groups = prometheus.get("rules")["groups"]
    evaluated = [rule for group in groups for rule in group["rules"]]
    assert {rule["name"] for rule in evaluated} == {rule.get("record") or rule["alert"] for rule in rules()}
    assert {rule["health"] for rule in evaluated} == {"ok"}
    assert {rule["name"] for rule in evaluated if rule.get("state") == "firing"} == set()


@pytest.mark.parametrize("expression", panel_expressions())
def test_every_panel_of_the_dashboard_shows_something(prometheus, server, traffic, expression):
    # What Grafana puts in for "All": the values found, or the variable's own.
    values = {"job": "tensorhost", "instance": f"127.0.0.1:{server.port}", "model": ".*", "version": ".*"}
    filled = re.sub(r"\$(job|instance|model|version)\b", lambda found: values[found[1]], expression)
    filled = filled.replace("$__rate_interval", "1m")
    wait_until(lambda: prometheus.query(filled))


def test_variables_of_the_dashboard_find_models_and_versions(prometheus, traffic):
    for label, wanted in (("model", {"wine", "digits", "langid"}), ("version", {"1", "2"}), ("job", {"tensorhost"})):
        match = urllib.parse.quote('tensorhost_requests_total{job="tensorhost"}')
        values = set(prometheus.get(f"label/{label}/values?match[]={match}"))
        assert wanted <= values, json.dumps(sorted(values))
