"""What the manifests say to tensorhost is what it understands: settings, probes, and the time a stop may take."""

from __future__ import annotations

import json
import re

import pytest
import yaml
from chart_schema import LEFT_OUT
from manifests import (
    CHART,
    EVERYTHING,
    IN_A_SERVICE,
    KUSTOMIZE,
    OVERLAYS,
    ROOT,
    charted,
    environment,
    find,
    helm_template,
    kustomized,
    pod,
    server,
)

from tensorhost.frontends.native.app import NativeApp
from tensorhost.inference import InferenceEngine
from tensorhost.models import ModelManager
from tensorhost.server.stop import hung_stop_s
from tensorhost.settings import Settings, environment_variable, setting_fields
from tensorhost.telemetry import MetricsCollector, definitions

SPARE_S = 5
"""Between the end of a stop that hangs and the kill."""

RENDERED = {f"overlay {name}": kustomized(folder) for name, folder in OVERLAYS.items()} | {
    "chart": charted(),
    "chart with everything": charted(EVERYTHING),
    "chart with other times": charted({"settings.drain_window_s": 2.5, "settings.shutdown_timeout_s": 600}),
    "chart without a drain window": charted({"settings.drain_window_s": 0, "settings.shutdown_timeout_s": None}),
}


def _container_settings(container, shared=()) -> Settings:
    """What the container's server would read."""
    values = dict(shared)
    for variable in container.get("env", ()):
        values[variable["name"]] = variable.get("value", "2")
    fields = {environment_variable(field): field for field in setting_fields()}
    return Settings(**{fields[name]: value for name, value in values.items() if name != "MODEL_NAME"})


def _settings(manifests) -> Settings:
    return _container_settings(server(manifests), find(manifests, "ConfigMap")["data"].items())


def _kserve_container():
    runtime = yaml.safe_load((KUSTOMIZE / "kserve" / "serving-runtime.yaml").read_text())
    (container,) = runtime["spec"]["containers"]
    return container


@pytest.mark.parametrize("name", RENDERED)
def test_every_variable_is_a_setting_with_a_value_it_takes(name):
    settings = _settings(RENDERED[name])
    assert settings.host == "0.0.0.0"
    assert [settings.port, settings.grpc_port] == [port["containerPort"] for port in server(RENDERED[name])["ports"]]


@pytest.mark.parametrize("name", RENDERED)
def test_the_pod_outlives_the_longest_stop(name):
    grace_s = pod(RENDERED[name])["terminationGracePeriodSeconds"]
    longest_s = hung_stop_s(_settings(RENDERED[name]))
    assert longest_s + SPARE_S <= grace_s <= longest_s + SPARE_S + 30


def test_a_service_of_kserve_outlives_the_longest_stop():
    service = yaml.safe_load((KUSTOMIZE / "kserve" / "inference-service.yaml").read_text())
    longest_s = hung_stop_s(_container_settings(_kserve_container()))
    assert service["spec"]["predictor"]["terminationGracePeriodSeconds"] >= longest_s + SPARE_S


@pytest.mark.parametrize("name", RENDERED)
def test_what_is_written_has_a_place(name):
    settings = _settings(RENDERED[name])
    volumes = {volume["name"]: volume for volume in pod(RENDERED[name])["volumes"]}
    mounts = {mount["mountPath"]: mount for mount in server(RENDERED[name])["volumeMounts"]}
    assert set(mounts) == {"/models", "/cache", "/tmp"}
    assert mounts[str(settings.model_path)]["readOnly"]
    cache = volumes[mounts[str(settings.cache_dir.parent)]["name"]]
    assert cache["emptyDir"]["sizeLimit"] == "3Gi"
    assert settings.cache_size < 3 * 2**30
    assert volumes[mounts["/tmp"]["name"]]["emptyDir"]["sizeLimit"] == "10Gi"


def test_a_pod_of_kserve_has_the_same_room_for_unpacking():
    runtime = yaml.safe_load((KUSTOMIZE / "kserve" / "serving-runtime.yaml").read_text())
    (volume,) = (volume for volume in runtime["spec"]["volumes"] if volume["name"] == "tmp")
    assert volume in pod(RENDERED["chart"])["volumes"]


def test_the_room_for_unpacking_can_be_changed():
    (volume,) = (volume for volume in pod(charted({"tmp.sizeLimit": "50Gi"}))["volumes"] if volume["name"] == "tmp")
    assert volume["emptyDir"]["sizeLimit"] == "50Gi"


@pytest.mark.parametrize("name", RENDERED)
def test_probes_ask_routes_that_exist(name, routes):
    container = server(RENDERED[name])
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["path"] in routes
        assert container[probe]["httpGet"]["port"] == container["ports"][0]["name"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/health/ready"
    assert container["livenessProbe"]["httpGet"]["path"] == "/health/live"


def test_kserves_probes_and_metrics_ask_what_exists(routes):
    runtime = yaml.safe_load((KUSTOMIZE / "kserve" / "serving-runtime.yaml").read_text())
    container = _kserve_container()
    settings = _container_settings(container)
    for probe in ("readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["path"] in routes
        assert container[probe]["httpGet"]["port"] == settings.port == container["ports"][0]["containerPort"]
    annotations = runtime["spec"]["annotations"]
    assert annotations["prometheus.kserve.io/path"] in routes
    assert int(annotations["prometheus.kserve.io/port"]) == settings.port


def test_monitors_and_autoscalers_name_what_exists(routes):
    for manifests in (RENDERED["overlay pvc"], RENDERED["chart with everything"]):
        (endpoint,) = find(manifests, "ServiceMonitor")["spec"]["endpoints"]
        assert endpoint["path"] in routes
        assert endpoint["port"] == find(manifests, "Service")["spec"]["ports"][0]["name"]
        cpu, queue = find(manifests, "HorizontalPodAutoscaler")["spec"]["metrics"]
        assert cpu["containerResource"]["container"] == server(manifests)["name"]
        assert queue["pods"]["metric"]["name"] == definitions.QUEUE_ROWS.name
    adapter = yaml.safe_load(
        (KUSTOMIZE / "components" / "autoscaling-on-queue" / "prometheus-adapter-values.yaml").read_text()
    )
    (rule,) = adapter["rules"]["custom"]
    assert rule["seriesQuery"].partition("{")[0] == rule["name"]["as"] == definitions.QUEUE_ROWS.name


def test_the_job_of_a_monitor_is_the_one_that_alerts_expect():
    alerts = (ROOT / "deploy" / "prometheus" / "rules" / "alerts.yml").read_text(encoding="utf-8")
    jobs = set(re.findall(r'job="([^"]+)"', alerts))
    for manifests in (RENDERED["overlay pvc"], charted(EVERYTHING, release="digits")):
        label = find(manifests, "ServiceMonitor")["spec"]["jobLabel"]
        assert {find(manifests, "Service")["metadata"]["labels"][label]} == jobs


def test_the_chart_takes_every_setting_by_its_own_name():
    schema = json.loads((CHART / "values.schema.json").read_text())["properties"]["settings"]["properties"]
    assert set(schema) == set(setting_fields()) - LEFT_OUT
    for field, described in schema.items():
        assert described["description"] == setting_fields()[field].description


def test_every_setting_of_the_chart_arrives_as_its_variable():
    values = {
        field: value
        for field, value in Settings().model_dump(mode="json", exclude=LEFT_OUT).items()
        if value is not None and value != []
    } | {"max_body_bytes": 33554432, "workers": "auto", "target_latency_ms": 12.5, "probe_memory": "1GiB"}
    values["saved_model_tags"] = "serve"  # lists are text with separators
    manifests = charted({f"settings.{field}": value for field, value in values.items()})
    variables = environment(manifests)
    assert {environment_variable(field) for field in values} <= set(variables)
    settings = _settings(manifests)
    expected = Settings(**values)
    for field in values:
        assert getattr(settings, field) == getattr(expected, field), field


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"settings.max_batchsize": 3}, "max_batchsize"),
        ({"settings.max_batch_size": "many"}, "max_batch_size"),
        ({"settings.admin_token": "secret"}, "admin_token"),
        ({"settings.version_policy": "newest"}, "version_policy"),
        ({"models.source": "s3"}, "source"),
        ({"replica": 2}, "replica"),
        ({"image.digest": "latest"}, "digest"),
        ({"tmp.sizeLimit": "much"}, "sizeLimit"),
        ({"autoscaling.enabled": True, "autoscaling.cpu.enabled": False}, "autoscaling.queue.enabled"),
    ],
)
def test_wrong_values_are_refused_by_name(values, complaint):
    ended = helm_template(values)
    assert ended.returncode != 0
    assert complaint in ended.stderr


def test_threads_follow_the_request_for_processors_unless_set():
    assert environment(charted())["TENSORHOST_INTRA_OP_THREADS"] == "<resourceFieldRef>"
    assert environment(charted({"settings.intra_op_threads": 3}))["TENSORHOST_INTRA_OP_THREADS"] == "3"
    assert "TENSORHOST_INTRA_OP_THREADS" not in environment(charted({"resources": None}))


def test_changed_settings_roll_the_pods():
    one, same, other = (
        find(charted({"settings.max_batch_size": rows}), "Deployment")["spec"]["template"]["metadata"]["annotations"]
        for rows in (16, 16, 32)
    )
    assert one == same != other
    (source,) = server(RENDERED["overlay pvc"])["envFrom"]
    assert source["configMapRef"]["name"].startswith("tensorhost-settings-")


@pytest.mark.parametrize("name", RENDERED)
def test_pods_meet_the_restricted_standard(name):
    spec = pod(RENDERED[name])
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["runAsUser"] == 10001
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
    for container in [*spec["containers"], *spec.get("initContainers", ())]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "privileged": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"]["memory"]


def test_the_token_comes_from_a_secret_and_is_no_value():
    for manifests in (RENDERED["overlay pvc"], RENDERED["chart with everything"]):
        (variable,) = (entry for entry in server(manifests)["env"] if entry["name"] == "TENSORHOST_ADMIN_TOKEN")
        assert variable["valueFrom"] == {"secretKeyRef": {"name": "tensorhost-admin-token", "key": "token"}}
    assert "TENSORHOST_ADMIN_TOKEN" not in environment(charted(IN_A_SERVICE))


@pytest.fixture(scope="module")
def routes(tmp_path_factory):
    settings = Settings(model_path=tmp_path_factory.mktemp("models"))
    manager = ModelManager(settings, repository=settings.model_path, metrics=MetricsCollector())
    app = NativeApp(InferenceEngine(manager), settings)

    class Routes:
        def __contains__(self, path: str) -> bool:
            return any("GET" in route.methods and route.pattern.fullmatch(path) for route in app._routes)

    return Routes()
