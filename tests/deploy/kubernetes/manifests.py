"""What kustomize and Helm make of deploy/, and how it is looked at."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from deploy_tools import TOOLS

ROOT = Path(__file__).resolve().parents[3]
KUSTOMIZE = ROOT / "deploy" / "kubernetes"
CHART = ROOT / "deploy" / "helm" / "tensorhost"

Manifest = dict[str, Any]


def program(name: str) -> str:
    """helm or kubectl: as scripts/deploy_tools.py fetched it, else from the PATH."""
    fetched = TOOLS / name
    found = str(fetched) if fetched.exists() else shutil.which(name)
    assert found, f"there is no {name}: run python scripts/deploy_tools.py"
    return found


def run(*command: str) -> subprocess.CompletedProcess[str]:
    # Neither program may read what a developer has set up for real clusters.
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "KUBECONFIG": "/nonexistent/config"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@cache
def _kustomized(folder: Path) -> str:
    ended = run(program("kubectl"), "kustomize", str(folder))
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def kustomized(folder: Path) -> list[Manifest]:
    """The manifests of an overlay."""
    return [manifest for manifest in yaml.safe_load_all(_kustomized(folder)) if manifest]


def helm_template(values: Manifest, release: str = "tensorhost") -> subprocess.CompletedProcess[str]:
    """``helm template`` of the chart as it ended, with ``values`` on top of its own."""
    command = [program("helm"), "template", release, str(CHART), "--namespace", "models"]
    for key, value in values.items():
        command += ["--set-json", f"{key}={json.dumps(value)}"]
    return run(*command)


def charted(values: Manifest | None = None, release: str = "tensorhost") -> list[Manifest]:
    """The manifests of the chart with ``values`` on top of its own."""
    ended = helm_template(values or {}, release)
    assert ended.returncode == 0, ended.stderr
    return [manifest for manifest in yaml.safe_load_all(ended.stdout) if manifest]


def kinds(manifests: list[Manifest]) -> set[str]:
    return {manifest["kind"] for manifest in manifests}


def find(manifests: list[Manifest], kind: str) -> Manifest:
    (found,) = (manifest for manifest in manifests if manifest["kind"] == kind)
    return found


def pod(manifests: list[Manifest]) -> Manifest:
    """The specification of the Deployment's pods."""
    spec: Manifest = find(manifests, "Deployment")["spec"]["template"]["spec"]
    return spec


def server(manifests: list[Manifest]) -> Manifest:
    (container,) = pod(manifests)["containers"]
    return container


def environment(manifests: list[Manifest]) -> dict[str, str]:
    """The server's variables: of the ConfigMap, and its own; in angle brackets where the value comes from elsewhere."""
    variables: dict[str, str] = dict(find(manifests, "ConfigMap")["data"])
    for variable in server(manifests).get("env", ()):
        variables[variable["name"]] = variable.get("value") or f"<{next(iter(variable['valueFrom']))}>"
    return variables


OVERLAYS = {folder.name: folder for folder in sorted((KUSTOMIZE / "overlays").iterdir())}

EVERYTHING: Manifest = {
    "models.source": "persistentVolumeClaim",
    "models.persistentVolumeClaim.create": True,
    "adminToken.enabled": True,
    "autoscaling.enabled": True,
    "autoscaling.queue.enabled": True,
    "serviceMonitor.enabled": True,
    "networkPolicy.enabled": True,
}
"""Values that make of the chart what the overlay pvc is."""

IN_A_SERVICE = {"models.source": "initContainer"}
"""Values that make of the chart what the overlay init-container is."""
