"""Every manifest is what Kubernetes and its operators say it must be, with each part of the chart on and off."""

from __future__ import annotations

import copy
import os
import re
import textwrap
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml
from manifests import (
    CHART,
    EVERYTHING,
    IN_A_SERVICE,
    KUSTOMIZE,
    OVERLAYS,
    ROOT,
    charted,
    find,
    kustomized,
    program,
    run,
)
from schemas import NEWEST, OLDEST, check

VALUES = {
    "nothing": {},
    "everything": EVERYTHING,
    "init container": IN_A_SERVICE,
    "init container with credentials": IN_A_SERVICE
    | {
        "models.initContainer.env": [{"name": "BUCKET", "value": "models"}],
        "models.initContainer.envFrom": [{"secretRef": {"name": "storage"}}],
        "networkPolicy.enabled": True,
        "networkPolicy.monitoringNamespace": "",
        "networkPolicy.from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}],
        "networkPolicy.egress": [{"ports": [{"protocol": "TCP", "port": 443}]}],
    },
    "a folder of a claim": {
        "models.source": "persistentVolumeClaim",
        "models.persistentVolumeClaim.subPath": "production",
        "models.persistentVolumeClaim.create": True,
        "models.persistentVolumeClaim.storageClassName": "fast",
    },
    "autoscaling by queue alone": {
        "autoscaling.enabled": True,
        "autoscaling.cpu.enabled": False,
        "autoscaling.queue.enabled": True,
    },
    "everything switchable off": {
        "podDisruptionBudget.enabled": False,
        "serviceAccount.create": False,
        "topologySpread.enabled": False,
        "resources": None,
    },
    "ingress": {
        "ingress.enabled": True,
        "ingress.className": "nginx",
        "ingress.annotations": {"nginx.ingress.kubernetes.io/proxy-body-size": "32m"},
        "ingress.tlsSecretName": "certificate",
    },
    "tls": {
        "settings.tls_certfile": "/tls/tls.crt",
        "settings.tls_keyfile": "/tls/tls.key",
        "extraVolumes": [{"name": "tls", "secret": {"secretName": "certificate"}}],
        "extraVolumeMounts": [{"name": "tls", "mountPath": "/tls", "readOnly": True}],
        "serviceMonitor.enabled": True,
        "serviceMonitor.labels": {"release": "prometheus"},
    },
    "placed": {
        "image.repository": "registry.example.com/tensorhost",
        "image.digest": "sha256:" + "0" * 64,
        "imagePullSecrets": [{"name": "registry"}],
        "nodeSelector": {"pool": "models"},
        "tolerations": [{"key": "models", "operator": "Exists", "effect": "NoSchedule"}],
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}},
        "priorityClassName": "models",
        "runtimeClassName": "gvisor",
        "podAnnotations": {"team": "vision"},
        "podLabels": {"team": "vision"},
        "service.annotations": {"team": "vision"},
        "serviceAccount.annotations": {"team": "vision"},
        "serviceAccount.name": "models",
        "extraEnv": [{"name": "TF_CPP_MIN_LOG_LEVEL", "value": "2"}],
    },
}


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("name", OVERLAYS)
def test_an_overlay_is_valid(name, version):
    for manifest in kustomized(OVERLAYS[name]):
        check(manifest, version)


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("name", VALUES)
def test_the_chart_is_valid_with(name, version):
    for manifest in charted(VALUES[name], release="any"):
        check(manifest, version)


def test_models_in_an_image_volume_are_valid_where_kubernetes_has_them(tmp_path):
    overlay = tmp_path / "kustomization.yaml"
    overlay.write_text(
        f"resources: [{_relative(KUSTOMIZE / 'base', tmp_path)}]\n"
        f"components: [{_relative(KUSTOMIZE / 'components' / 'models-from-image', tmp_path)}]\n"
    )
    for manifests in (charted({"models.source": "image"}), kustomized(tmp_path)):
        for manifest in manifests:
            check(manifest, "1.35")
        volumes = {
            volume["name"]: volume for volume in find(manifests, "Deployment")["spec"]["template"]["spec"]["volumes"]
        }
        assert set(volumes["models"]) == {"name", "image"}


def test_the_documented_exceptions_to_the_network_policy_are_valid(tmp_path):
    page = (ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8")
    (patches,) = re.findall(r"```yaml\n( +patches:\n.*?)```", page, re.DOTALL)
    (tmp_path / "kustomization.yaml").write_text(
        f"resources: [{_relative(OVERLAYS['pvc'], tmp_path)}]\n{textwrap.dedent(patches)}"
    )
    policy = find(kustomized(tmp_path), "NetworkPolicy")
    check(policy)
    callers = find(kustomized(OVERLAYS["pvc"]), "NetworkPolicy")["spec"]["ingress"][0]["from"]
    assert policy["spec"]["ingress"][0]["from"][:-1] == callers
    assert [[port["port"] for port in rule["ports"]] for rule in policy["spec"]["egress"]] == [[53, 53], [4318]]


@pytest.mark.parametrize("name", ["serving-runtime.yaml", "inference-service.yaml"])
def test_the_resources_of_kserve_are_valid(name):
    check(yaml.safe_load((KUSTOMIZE / "kserve" / name).read_text()))


def test_the_chart_passes_helms_own_checks():
    ended = run(program("helm"), "lint", "--strict", str(CHART))
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_every_component_is_used_or_tried_here():
    used = {
        path.rpartition("/")[2]
        for overlay in OVERLAYS.values()
        for path in yaml.safe_load((overlay / "kustomization.yaml").read_text())["components"]
    }
    assert used | {"models-from-image"} == {folder.name for folder in (KUSTOMIZE / "components").iterdir()}


@pytest.mark.parametrize(
    ("kind", "spoil"),
    [
        ("Deployment", lambda spec: spec["template"]["spec"].update(terminationGracePeriod=60)),
        ("HorizontalPodAutoscaler", lambda spec: spec.update(minReplicas="three")),
        ("ServiceMonitor", lambda spec: spec["endpoints"][0].update(periodSeconds=1)),
        ("ServiceMonitor", lambda spec: spec.pop("selector")),
    ],
)
def test_the_check_sees_a_fault(kind, spoil):
    manifest = copy.deepcopy(find(charted(EVERYTHING), kind))
    spoil(manifest["spec"])
    with pytest.raises((jsonschema.ValidationError, kubernetes_validate.ValidationError)):
        check(manifest)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda spec: spec.update(protocols=["v2"]),
        lambda spec: spec.pop("containers"),
        lambda spec: spec["supportedModelFormats"][0].update(autoSelect="no"),
        lambda spec: spec["containers"][0].update(port=3000),
    ],
)
def test_the_check_of_kserve_sees_a_fault(spoil):
    runtime = yaml.safe_load((KUSTOMIZE / "kserve" / "serving-runtime.yaml").read_text())
    spoil(runtime["spec"])
    with pytest.raises((ValueError, kubernetes_validate.ValidationError)):
        check(runtime)


def _relative(target: Path, folder: Path) -> str:
    """kustomize takes no absolute paths."""
    return os.path.relpath(target, folder.resolve())
