"""Kubernetes' own schemas, and those of the two operators whose resources deploy/ has.

Kubernetes' come with ``kubernetes-validate``. The Prometheus operator's are the models of
``cloudcoil-models-prometheus-operator``, made from its custom resource definitions, closed here to unknown fields.
KServe's are the types of its own package, generated from its Go source: they name fields, types and what is required.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from typing import Any

import jsonschema
import kubernetes_validate
from cloudcoil.models.prometheus_operator.v1 import ServiceMonitor
from deploy_tools import KSERVE_TYPES

OLDEST = "1.30"
"""The oldest Kubernetes that the documentation names."""

NEWEST = kubernetes_validate.latest_version()

_SCALARS: dict[str, type | tuple[type, ...]] = {"str": str, "int": int, "bool": bool, "float": (int, float)}


def check(manifest: dict[str, Any], version: str = NEWEST) -> None:
    """Raise if ``manifest`` is not what its schema says, down to unknown fields."""
    match manifest["apiVersion"].partition("/")[0]:
        case "monitoring.coreos.com":
            jsonschema.validate(manifest, _service_monitor())
        case "serving.kserve.io":
            check_kserve(manifest)
        case _:
            kubernetes_validate.validate(manifest, version, strict=True)


@cache
def _service_monitor() -> dict[str, Any]:
    schema: dict[str, Any] = ServiceMonitor.model_json_schema(by_alias=True)
    for part in (schema, *schema["$defs"].values()):
        if "properties" in part:
            part["additionalProperties"] = False
    return schema


def check_kserve(manifest: dict[str, Any]) -> None:
    """Raise ``ValueError`` if a resource of KServe has unknown, missing or mistyped fields."""
    version = manifest["apiVersion"].partition("/")[2].capitalize()
    _check_value(manifest, f"{version}{manifest['kind']}", manifest["kind"])


def _check_value(value: Any, kind: str, place: str) -> None:
    if kind in _SCALARS:
        if not isinstance(value, _SCALARS[kind]) or (kind == "int" and isinstance(value, bool)):
            raise ValueError(f"{place} is no {kind}")
    elif kind == "object":
        return
    elif kind.startswith("list["):
        if not isinstance(value, list):
            raise ValueError(f"{place} is no list")
        for index, item in enumerate(value):
            _check_value(item, kind[5:-1], f"{place}[{index}]")
    elif kind.startswith("dict("):
        for key, item in value.items():
            _check_value(item, kind[5:-1].partition(", ")[2], f"{place}.{key}")
    elif kind in {"V1Container", "V1Volume", "V1ObjectMeta"}:
        _check_in_a_pod(value, kind)
    else:
        _check_fields(value, kind, place)


def _check_fields(value: Any, kind: str, place: str) -> None:
    if not isinstance(value, dict):
        raise ValueError(f"{place} is no object")
    types, keys, required = _kserve_type(kind)
    fields = {keys[name]: types[name] for name in types}
    if unknown := value.keys() - fields.keys():
        raise ValueError(f"{place} has no {', '.join(sorted(unknown))}")
    if missing := {keys[name] for name in required} - value.keys():
        raise ValueError(f"{place} lacks {', '.join(sorted(missing))}")
    for key, item in value.items():
        _check_value(item, fields[key], f"{place}.{key}")


def _check_in_a_pod(value: dict[str, Any], kind: str) -> None:
    container = {"name": "any", "image": "any"}
    pod: dict[str, Any] = {"apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": {"containers": [container]}}
    if kind == "V1Container":
        pod["spec"]["containers"] = [value]
    elif kind == "V1Volume":
        pod["spec"]["volumes"] = [value]
    else:
        pod["metadata"] = value
    kubernetes_validate.validate(pod, NEWEST, strict=True)


@cache
def _kserve_type(kind: str) -> tuple[dict[str, str], dict[str, str], set[str]]:
    """Types and keys by Python name, and the names that are required, read from the class without running it."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", kind).lower()
    source = (KSERVE_TYPES / f"{words}.py").read_text(encoding="utf-8")
    (definition,) = (node for node in ast.parse(source).body if isinstance(node, ast.ClassDef))
    tables = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in definition.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and isinstance(node.value, ast.Dict)
    }
    (constructor,) = (node for node in definition.body if isinstance(node, ast.FunctionDef) and node.name == "__init__")
    # What may be missing is set under a condition; what is required, at once.
    required = {
        node.targets[0].attr
        for node in constructor.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Attribute)
        and node.targets[0].attr in tables["openapi_types"]
    }
    return tables["openapi_types"], tables["attribute_map"], required
