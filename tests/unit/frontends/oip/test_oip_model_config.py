"""Models described as Triton's clients read them, whatever their shapes, dtypes and policies are."""

from dataclasses import replace

import pytest
from google.protobuf import json_format
from tests.unit.inference.engine_bench import EngineBench

from tensorhost.codecs.protobuf import POOL, message_class
from tensorhost.core.dtypes import DType
from tensorhost.core.signatures import Signature
from tensorhost.core.tensors import TensorSpec
from tensorhost.frontends.oip.metadata import EXTENSIONS, PLATFORM, model_metadata, server_metadata
from tensorhost.frontends.oip.model_config import model_config
from tensorhost.models.policy import VersionPolicy
from tensorhost.models.servable import Call
from tensorhost.pipelines import (
    PostprocessingOptions,
    PostprocessingPipeline,
    PreprocessingOptions,
    PreprocessingPipeline,
)
from tensorhost.runtimes import ModelFormat

SCORES = TensorSpec("y", DType.FLOAT32, (None, 3))


def call_of(*specs, output=SCORES):
    signature = Signature("serving_default", {spec.name: spec for spec in specs}, {output.name: output})
    return Call(
        signature,
        PreprocessingPipeline(PreprocessingOptions(), signature),
        PostprocessingPipeline(PostprocessingOptions(), signature),
    )


def unbatched(servable):
    servable.queue("serving_default")._options = replace(servable.queue("serving_default").options, batched=False)


SPECS = [
    (TensorSpec("x", DType.FLOAT32, (None, 4)), [-1, 4], [4], "FP32", "TYPE_FP32"),
    (TensorSpec("x", DType.BFLOAT16, (None, None, 3)), [-1, -1, 3], [-1, 3], "BF16", "TYPE_BF16"),
    (TensorSpec("x", DType.INT8, None), [-1], [-1], "INT8", "TYPE_INT8"),
    (TensorSpec("x", DType.COMPLEX64, (None, 1)), [-1, 1], [1], "COMPLEX64", "TYPE_INVALID"),
]


@pytest.mark.parametrize(("spec", "shape", "dims", "datatype", "data_type"), SPECS)
async def test_shapes_and_dtypes(spec, shape, dims, datatype, data_type):
    bench = EngineBench()
    call = call_of(spec)
    described = model_metadata(bench.manager, bench.servable, call, None).to_json()
    assert described["inputs"] == [{"name": "x", "datatype": datatype, "shape": shape}]
    config = model_config(bench.manager, bench.servable, call)
    assert (config["max_batch_size"], config["input"][0]["dims"]) == (8, dims)
    assert config["input"][0]["data_type"] == data_type
    unbatched(bench.servable)
    config = model_config(bench.manager, bench.servable, call)
    assert (config["max_batch_size"], config["input"][0]["dims"]) == (0, shape)
    assert "dynamic_batching" not in config


@pytest.mark.parametrize(
    ("shape", "batched", "shown", "dims"),
    [((None,), True, [-1, 1], [1]), ((None,), False, [-1], [-1]), ((), False, [1], [1]), ((2,), False, [2], [2])],
)
async def test_single_values_are_shown_with_a_dimension_that_the_model_does_not_have(shape, batched, shown, dims):
    bench = EngineBench()
    call = call_of(TensorSpec("x", DType.STRING, shape), output=TensorSpec("y", DType.STRING, shape))
    if not batched:
        unbatched(bench.servable)
    described = model_metadata(bench.manager, bench.servable, call, None)
    config = model_config(bench.manager, bench.servable, call)
    for tensors, configured in ((described.inputs, config["input"]), (described.outputs, config["output"])):
        assert (tensors[0].shape, configured[0]["dims"]) == (shown, dims)
        assert configured[0].get("reshape") == ({"shape": []} if len(shown) > len(shape) else None)
    json_format.ParseDict(config, message_class("inference.ModelConfig")(), descriptor_pool=POOL)


@pytest.mark.parametrize(
    ("policy", "written"),
    [
        (VersionPolicy(), {"all": {}}),
        (VersionPolicy(latest=2), {"latest": {"num_versions": 2}}),
        (VersionPolicy(specific=frozenset({"10", "v9", "1.2.0"})), {"specific": {"versions": [9, 10]}}),
    ],
)
async def test_policies(policy, written):
    bench = EngineBench()
    bench.manager.models()["m"].policy = policy
    assert model_config(bench.manager, bench.servable, call_of(SPECS[0][0]))["version_policy"] == written


async def test_the_configuration_is_a_message_of_the_protocol():
    bench = EngineBench()
    config = model_config(
        bench.manager, bench.servable, call_of(SPECS[0][0], TensorSpec("word", DType.STRING, (None,)))
    )
    message = json_format.ParseDict(config, message_class("inference.ModelConfig")(), descriptor_pool=POOL)
    assert (message.name, message.max_batch_size, list(message.input[0].dims)) == ("m", 8, [4])


def test_every_format_has_a_platform():
    assert set(PLATFORM) == {None, *ModelFormat}


def test_extensions_are_said_once():
    assert server_metadata()["extensions"] == list(dict.fromkeys(EXTENSIONS))


async def test_more_rows_than_a_request_may_have_are_those_of_a_call_or_of_the_setting():
    bench = EngineBench()
    queue = bench.servable.queue("serving_default")
    queue._options = replace(queue.options, max_request_rows=64)
    assert model_config(bench.manager, bench.servable, call_of(SPECS[0][0]))["max_batch_size"] == 64
