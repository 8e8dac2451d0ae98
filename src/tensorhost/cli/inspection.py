"""What ``tensorhost inspect`` reports, JSON-ready: every version read and tried the way the server does it.

A model is met in a child process, as in the server, since one that crashes its runtime must not end this one. Names
and messages in the report are the model's own words; whoever shows them makes them printable.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tensorhost.cli.output import spinner

if TYPE_CHECKING:
    from tensorhost.core.signatures import Signature
    from tensorhost.core.tensors import TensorSpec
    from tensorhost.models.probe import Prober
    from tensorhost.models.repository import ModelOnDisk, VersionOnDisk
    from tensorhost.runtimes import LoadOptions
    from tensorhost.settings import Settings


def inspect_path(path: Path, settings: Settings) -> dict[str, Any]:
    """What lies at ``path``: ``servable`` (nothing is wrong), ``models`` and ``problems`` by name.

    Loads every version that is whole and runs its signatures once, one version after the other.

    Args:
        path: a repository root, a model's folder, a version or a file.
        settings: what a server would be started with.
    """
    from tensorhost.models.probe import Prober
    from tensorhost.models.repository import scan

    found = scan(path, now=time.time(), settle_s=0.0)
    with Prober.of(settings) as prober:
        models = [_model(model, settings, prober) for model in found.models.values()]
    problems = dict(found.problems)
    if not models and not problems:
        problems[path.name] = "There is no model here."
    sound = not problems and not any(part["problem"] for model in models for part in (model, *model["versions"]))
    return {"servable": sound, "models": models, "problems": problems}


def _model(model: ModelOnDisk, settings: Settings, prober: Prober | None) -> dict[str, Any]:
    from tensorhost.core.ids import version_key

    versions = [model.versions[version] for version in sorted(model.versions, key=version_key)]
    return {
        "name": model.name,
        "problem": model.problem,
        "versions": [_version(model, version, settings, prober) for version in versions],
    }


def _version(model: ModelOnDisk, version: VersionOnDisk, settings: Settings, prober: Prober | None) -> dict[str, Any]:
    report: dict[str, Any] = {
        "version": version.version,
        "format": version.format,
        "sizeBytes": version.size_bytes,
        "problem": version.problem,
        "runtime": None,
        "weightsBytes": None,
        "memoryBytes": None,
        "disabledOptimizations": [],
        "signatures": [],
        "refusedSignatures": {},
        "operations": {},
        "parameters": None,
        "findings": [],
    }
    if not version.problem:
        with spinner(f"Loading {model.name}, version {version.version}…"):
            report |= _tried(model, version, settings, prober)
    return report


def _tried(model: ModelOnDisk, version: VersionOnDisk, settings: Settings, prober: Prober | None) -> dict[str, Any]:
    """What loading the version shows; where it fails, the reason and what can be told without loading."""
    from tensorhost.core.errors import TensorhostError
    from tensorhost.models.loading import attempt
    from tensorhost.models.overrides import first_runs, load_options

    options = load_options(settings, model.config)
    try:
        if prober is None:
            return attempt(lambda: _loaded_here(version.path, options))
        report = prober.probe(version.path, options, first_runs(settings, model.config, model.folder))
    except TensorhostError as error:
        return {"problem": error.message} | _examined(version.path, options)
    return {
        "runtime": report.runtime,
        "weightsBytes": report.weights_bytes,
        "memoryBytes": report.memory_bytes,
        "disabledOptimizations": [{"name": "remapping", "reason": report.crash}] if report.crash else [],
        "signatures": _signatures(report.signatures, report.call_paths),
        "refusedSignatures": dict(report.refused_signatures),
        **report.contents.to_json(),
    }


def _examined(path: Path, options: LoadOptions) -> dict[str, Any]:
    """Operations, parameters and findings of a model that does not load; nothing where its files do not tell."""
    from tensorhost.core.errors import TensorhostError
    from tensorhost.models.loading import attempt
    from tensorhost.runtimes import examine

    try:
        return attempt(lambda: examine(path, options)).to_json()
    except TensorhostError:
        return {}


def _loaded_here(path: Path, options: LoadOptions) -> dict[str, Any]:
    """Load in this process: what the operator asks for by switching the child process off.

    Raises TensorhostError: why the model cannot be served.
    """
    from tensorhost.runtimes import examine, formats, refuse_untrusted

    contents = examine(path, options)
    refuse_untrusted(contents, options)
    runtime = formats.load(path, options)
    try:
        return {
            "runtime": runtime.name,
            "weightsBytes": runtime.weights_bytes,
            "signatures": _signatures(
                runtime.signatures, {name: runtime.call_path(name) for name in runtime.signatures}
            ),
            "refusedSignatures": dict(runtime.refused_signatures),
            **contents.to_json(),
        }
    finally:
        runtime.close()


def _signatures(signatures: Mapping[str, Signature], call_paths: Mapping[str, str]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "inputs": _specs(signature.inputs),
            "outputs": _specs(signature.outputs),
            "callPath": call_paths[name],
        }
        for name, signature in signatures.items()
    ]


def _specs(specs: Mapping[str, TensorSpec]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "dtype": spec.dtype.value,
            "shape": None if spec.shape is None else list(spec.shape),
        }
        for name, spec in specs.items()
    ]
