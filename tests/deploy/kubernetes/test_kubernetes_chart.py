"""The chart: the same as the overlays in what reaches the cluster, and each part there only when it is asked for."""

from __future__ import annotations

import copy

import pytest
import yaml
from manifests import CHART, EVERYTHING, IN_A_SERVICE, OVERLAYS, charted, find, kinds, kustomized, pod, server

from tensorhost.core.version import __version__

ALWAYS = {"ServiceAccount", "ConfigMap", "Service", "Deployment", "PodDisruptionBudget", "Pod"}


def _essence(manifests):
    """By kind, without what names the tool, the version and the hash of settings."""
    essence = {}
    for manifest in copy.deepcopy(manifests):
        if manifest["kind"] == "Pod":
            continue  # helm test; kustomize has nothing like it
        metadata = manifest.pop("metadata")
        assert metadata["labels"]["app.kubernetes.io/name"] == "tensorhost"
        assert metadata["labels"]["app.kubernetes.io/instance"] == "tensorhost"
        essence[manifest["kind"]] = manifest | {
            "name": metadata["name"].rpartition("-settings-")[0] or metadata["name"]
        }
    template = essence["Deployment"]["spec"]["template"]
    template["metadata"]["annotations"].pop("checksum/settings", None)
    (container,) = template["spec"]["containers"]
    container["image"] = container["image"].partition(":")[0]
    container.pop("envFrom")
    container["env"].sort(key=lambda variable: variable["name"])
    essence["ConfigMap"].pop("name")
    return essence


@pytest.mark.parametrize(("overlay", "values"), [("pvc", EVERYTHING), ("init-container", IN_A_SERVICE)])
def test_the_chart_and_the_overlay_are_the_same(overlay, values):
    assert _essence(charted(values)) == _essence(kustomized(OVERLAYS[overlay]))


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ({"serviceMonitor.enabled": True}, "ServiceMonitor"),
        ({"networkPolicy.enabled": True}, "NetworkPolicy"),
        ({"ingress.enabled": True}, "Ingress"),
        ({"autoscaling.enabled": True}, "HorizontalPodAutoscaler"),
        (
            {"models.source": "persistentVolumeClaim", "models.persistentVolumeClaim.create": True},
            "PersistentVolumeClaim",
        ),
    ],
)
def test_a_part_is_there_when_asked_for(values, kind):
    assert kinds(charted(values)) == ALWAYS | {kind}


@pytest.mark.parametrize(
    ("value", "kind"),
    [("podDisruptionBudget.enabled", "PodDisruptionBudget"), ("serviceAccount.create", "ServiceAccount")],
)
def test_a_part_is_gone_when_turned_off(value, kind):
    assert kinds(charted()) == ALWAYS
    assert kinds(charted({value: False})) == ALWAYS - {kind}


def test_the_chart_installs_this_version():
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == __version__
    assert server(charted())["image"] == f"tensorhost:{__version__}"
    digest = "sha256:" + "a" * 64
    assert server(charted({"image.digest": digest}))["image"] == f"tensorhost@{digest}"


def test_the_autoscaler_alone_owns_the_number_of_pods():
    assert find(charted(), "Deployment")["spec"]["replicas"] == 3
    scaled = charted({"autoscaling.enabled": True})
    assert "replicas" not in find(scaled, "Deployment")["spec"]
    assert find(scaled, "HorizontalPodAutoscaler")["spec"]["minReplicas"] == 3


def test_two_releases_do_not_meet():
    one, other = charted(EVERYTHING, release="a"), charted(EVERYTHING, release="b")
    for kind in ("Deployment", "Service", "PodDisruptionBudget", "HorizontalPodAutoscaler", "NetworkPolicy"):
        assert find(one, kind)["metadata"]["name"] != find(other, kind)["metadata"]["name"]
    selectors = [find(manifests, "Service")["spec"]["selector"] for manifests in (one, other)]
    assert selectors[0] != selectors[1]
    for manifests, selector in zip((one, other), selectors, strict=True):
        labels = find(manifests, "Deployment")["spec"]["template"]["metadata"]["labels"]
        assert selector.items() <= labels.items()
        assert find(manifests, "Deployment")["spec"]["selector"]["matchLabels"] == selector
        assert find(manifests, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == selector
        # The pod of helm test must not get the service's requests.
        assert not selector.items() <= find(manifests, "Pod")["metadata"]["labels"].items()


def test_with_tls_everyone_asks_over_https():
    values = {"settings.tls_certfile": "/tls/tls.crt", "settings.tls_keyfile": "/tls/tls.key"}
    manifests = charted(values | {"serviceMonitor.enabled": True})
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert server(manifests)[probe]["httpGet"]["scheme"] == "HTTPS"
    assert find(manifests, "ServiceMonitor")["spec"]["endpoints"][0]["scheme"] == "https"
    assert {port["appProtocol"] for port in find(manifests, "Service")["spec"]["ports"]} == {"https"}
    assert find(manifests, "Pod")["spec"]["containers"][0]["args"][-1] == "https://tensorhost:3000"


@pytest.mark.parametrize("source", ["empty", "persistentVolumeClaim", "initContainer", "image"])
def test_models_come_from_one_place(source):
    spec = pod(charted({"models.source": source}))
    (volume,) = (volume for volume in spec["volumes"] if volume["name"] == "models")
    kind = source if source in {"persistentVolumeClaim", "image"} else "emptyDir"
    assert set(volume) == {"name", kind}
    assert ("initContainers" in spec) == (source == "initContainer")
    if source == "persistentVolumeClaim":
        assert volume[kind]["readOnly"]
