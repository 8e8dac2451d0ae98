"""A model's configuration as Triton writes it: what perf_analyzer and other programs plan their requests by."""

from __future__ import annotations

from typing import Any

from tensorhost.codecs.oip import config_type_of
from tensorhost.core.tensors import TensorSpec
from tensorhost.frontends.oip.inputs import max_batch_size
from tensorhost.frontends.oip.metadata import platform_of
from tensorhost.frontends.oip.parameters import DEFAULT_PRIORITY_LEVEL, PRIORITY_LEVELS
from tensorhost.frontends.oip.shapes import shown_shape
from tensorhost.frontends.versions import number_of
from tensorhost.inference import Call
from tensorhost.models.manager import ModelManager
from tensorhost.models.policy import VersionPolicy
from tensorhost.models.servable import Servable


def model_config(manager: ModelManager, servable: Servable, call: Call) -> dict[str, Any]:
    """The configuration of a version: the JSON form of a message ``inference.ModelConfig``.

    Fields that say nothing of this server are left out: they are what a client takes a missing field for.

    Args:
        manager: knows the model's version policy.
        servable: the version described.
        call: what a request without requested outputs asks of it, from ``Inference.prepare``.
    """
    rows, backend = max_batch_size(servable, call), servable.loaded.runtime.name
    model = manager.models().get(servable.id.name)
    config: dict[str, Any] = {
        "name": servable.id.name,
        "platform": platform_of(manager, servable),
        "backend": backend,
        "version_policy": _policy(VersionPolicy() if model is None else model.policy),
        "max_batch_size": rows,
        "input": [
            {**_describe(spec, rows), "format": "FORMAT_NONE", "optional": False}
            for spec in call.preprocessing.wire_specs.values()
        ],
        "output": [{**_describe(spec, rows), "label_filename": ""} for spec in call.signature.outputs.values()],
        "instance_group": [{"name": f"{servable.id.name}_0", "kind": "KIND_CPU", "count": 1}],
        "default_model_filename": "",
        "parameters": {},
        "model_warmup": [],
    }
    if rows:
        options = servable.queue(call.signature.name).options
        config["dynamic_batching"] = {
            "preferred_batch_size": [options.max_batch_rows],
            "max_queue_delay_microseconds": round(options.batch_timeout_s * 1e6),
            "preserve_ordering": False,
            # With a latency goal those that can still be in time go first, whatever their priority.
            "priority_levels": 0 if options.target_latency_s else PRIORITY_LEVELS,
            "default_priority_level": 0 if options.target_latency_s else DEFAULT_PRIORITY_LEVEL,
        }
    return config


def _describe(spec: TensorSpec, rows: int) -> dict[str, Any]:
    shown = shown_shape(spec.shape, by_row=rows > 0)
    shape = (None,) if shown is None else shown
    # The dimension of rows is not written where there is a largest batch.
    dims = shape[1:] if rows and spec.shape is not None else shape
    described: dict[str, Any] = {
        "name": spec.name,
        "data_type": config_type_of(spec.dtype),
        "dims": [-1 if size is None else size for size in dims],
    }
    if shown != spec.shape:
        # What the model gets of it.
        described["reshape"] = {"shape": []}
    return described


def _policy(policy: VersionPolicy) -> dict[str, Any]:
    if policy.specific is not None:
        numbers = {number for version in policy.specific if (number := number_of(version)) is not None}
        return {"specific": {"versions": sorted(numbers)}}
    return {"all": {}} if policy.latest is None else {"latest": {"num_versions": policy.latest}}
