"""Our messages are those of TensorFlow, TensorFlow Serving and Triton: compared with theirs, message by message."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from functools import cache
from typing import Any

import pytest
from google.protobuf import any_pb2, wrappers_pb2
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)

from tensorhost.codecs.protobuf import POOL, pool

LEFT_OUT = {
    "tensorflow.RunOptions.debug_options": "the debugger's, which needs its own server",
    "tensorflow.RunMetadata.step_stats": "what a traced session call records; nothing here reads graphs",
    "tensorflow.RunMetadata.cost_graph": "the same",
    "tensorflow.RunMetadata.partition_graphs": "the same",
    "tensorflow.RunMetadata.function_graphs": "the same",
    "tensorflow.RunMetadata.FunctionGraphs": "the same",
}
"""Parts of messages that ours do not have, and why."""

NOT_IN_PYTHON = {
    "tensorflow_serving/config/monitoring_config.proto",
    "tensorflow_serving/config/ssl_config.proto",
    "tensorflow_serving/servables/tensorflow/saved_model_bundle_source_adapter.proto",
    "tensorflow_serving/servables/tensorflow/session_bundle_config.proto",
    "tsl/profiler/protobuf/profiler_service.proto",
    "tsl/profiler/protobuf/profiler_service_monitor_result.proto",
}
"""Files whose messages no Python package has: they are compared with what was read in the sources, below."""


@cache
def ours() -> dict[str, FileDescriptorProto]:
    data = pool.files("tensorhost.codecs.protobuf").joinpath("descriptors.binpb").read_bytes()
    return {file.name: file for file in FileDescriptorSet.FromString(data).file}


@cache
def theirs() -> dict[str, Any]:
    """Messages, enums and services of TensorFlow, TensorFlow Serving, Triton's client and gRPC, by full name."""
    import tensorflow_serving.apis
    import tensorflow_serving.config

    modules = ["grpc_health.v1.health_pb2", "tensorflow.tsl.profiler.protobuf.xplane_pb2"]
    modules.append("tensorflow.tsl.profiler.protobuf.profiler_options_pb2")
    modules.append("tritonclient.grpc.service_pb2")
    for package in (tensorflow_serving.apis, tensorflow_serving.config):
        names = [module.name for module in pkgutil.iter_modules(package.__path__, package.__name__ + ".")]
        modules += [name for name in names if name.endswith("_pb2")]
    found: dict[str, Any] = {}
    waiting = [importlib.import_module(name).DESCRIPTOR for name in modules]
    while waiting:
        descriptor = waiting.pop()
        file = FileDescriptorProto()
        descriptor.CopyToProto(file)
        found |= members(file)
        waiting += descriptor.dependencies
    return found


def members(file: FileDescriptorProto) -> dict[str, Any]:
    """What a file defines at its top level, by full name."""
    return {f"{file.package}.{member.name}": member for member in (*file.message_type, *file.enum_type, *file.service)}


def field_facts(field: FieldDescriptorProto, oneofs: Any) -> tuple[Any, ...]:
    is_number = field.type not in {field.TYPE_STRING, field.TYPE_BYTES, field.TYPE_MESSAGE}
    # What proto3 does without being told; the two compilers may or may not have been told.
    is_packed = field.label == field.LABEL_REPEATED and is_number
    if field.options.HasField("packed"):
        is_packed = field.options.packed
    oneof = oneofs[field.oneof_index].name if field.HasField("oneof_index") else None
    return field.name, field.type, field.type_name, field.label, is_packed, oneof, field.proto3_optional


def facts(member: Any, name: str) -> Any:
    """What of a message, an enum or a service shows on the wire or in text."""
    if isinstance(member, EnumDescriptorProto):
        return {value.name: value.number for value in member.value}
    if isinstance(member, ServiceDescriptorProto):
        return {
            method.name: (method.input_type, method.output_type, method.client_streaming, method.server_streaming)
            for method in member.method
        }
    assert isinstance(member, DescriptorProto)
    nested = [part for part in (*member.nested_type, *member.enum_type) if f"{name}.{part.name}" not in LEFT_OUT]
    return {
        "fields": {
            field.number: field_facts(field, member.oneof_decl)
            for field in member.field
            if f"{name}.{field.name}" not in LEFT_OUT
        },
        "nested": {part.name: facts(part, f"{name}.{part.name}") for part in nested},
        "is_map_entry": member.options.map_entry,
    }


def compared() -> list[str]:
    return sorted(
        name
        for file in ours().values()
        if file.name not in NOT_IN_PYTHON and file.package != "tensorhost.wire"
        for name in members(file)
    )


@pytest.fixture(scope="module")
def upstream(tf) -> dict[str, Any]:
    return theirs()


@pytest.mark.parametrize("name", compared())
def test_a_message_is_what_it_is_upstream(upstream, name):
    own = {full: member for file in ours().values() for full, member in members(file).items()}[name]
    assert facts(own, name) == facts(upstream[name], name)


def test_all_of_tensorflow_serving_and_of_the_inference_protocol_is_there(upstream):
    wanted = {name for name in upstream if name.startswith(("tensorflow.serving.", "grpc.health.", "inference."))}
    assert len([name for name in wanted if name.startswith("inference.")]) > 60
    assert wanted - set(compared()) == set()


def test_what_is_left_out_exists_upstream(upstream):
    for path in LEFT_OUT:
        message, _, part = path.rpartition(".")
        known = upstream[message]
        assert part in {member.name for member in (*known.field, *known.nested_type)}, path


def numbers(message: str) -> dict[str, int]:
    return {field.name: field.number for field in POOL.FindMessageTypeByName(message).fields}


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        ("tensorflow.serving.MonitoringConfig", {"prometheus_config": 1}),
        ("tensorflow.serving.PrometheusConfig", {"enable": 1, "path": 2}),
        ("tensorflow.serving.SSLConfig", {"server_key": 1, "server_cert": 2, "custom_ca": 3, "client_verify": 4}),
        ("tensorflow.serving.SavedModelBundleSourceAdapterConfig", {"legacy_config": 1000}),
        ("tensorflow.TerminateRequest", {"session_id": 1}),
        ("tensorflow.MonitorRequest", {"duration_ms": 1, "monitoring_level": 2, "timestamp": 3}),
    ],
)
def test_messages_without_a_python_package(message, fields):
    assert numbers(message) == fields


def test_every_message_without_a_python_package_is_named():
    assert set(ours()) >= NOT_IN_PYTHON
    parameters = POOL.FindMessageTypeByName("tensorflow.serving.BatchingParameters").fields_by_name
    kinds = {name: field.message_type and field.message_type.full_name for name, field in parameters.items()}
    assert kinds["max_batch_size"] == "google.protobuf.Int64Value"
    assert kinds["thread_pool_name"] == "google.protobuf.StringValue"
    assert kinds["enable_large_batch_splitting"] == "google.protobuf.BoolValue"
    assert kinds["allowed_batch_sizes"] is None
    assert kinds["pad_variable_length_inputs"] is None
    profiler = POOL.FindServiceByName("tensorflow.ProfilerService")
    assert {"Profile", "Terminate", "Monitor"} <= set(profiler.methods_by_name)


def test_well_known_types_are_those_of_the_protobuf_package():
    for module in (any_pb2, wrappers_pb2):
        assert POOL.FindFileByName(module.DESCRIPTOR.name).serialized_pb == module.DESCRIPTOR.serialized_pb


TOGETHER = """
import os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
def us():
    from tensorhost.codecs.protobuf import message_class
    global ours
    ours = message_class("tensorflow.serving.PredictRequest")
def them():
    import tensorflow
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2, prediction_service_pb2_grpc
    global theirs
    theirs = predict_pb2.PredictRequest
for part in sys.argv[1:]:
    globals()[part]()
request = theirs()
request.model_spec.name = "m"
request.inputs["x"].float_val.append(1.5)
mine = ours.FromString(request.SerializeToString())
assert mine.inputs["x"].float_val[0] == 1.5
assert theirs.FromString(mine.SerializeToString()) == request
assert type(mine) is not theirs
"""


@pytest.mark.parametrize("order", [("us", "them"), ("them", "us")])
def test_ours_and_theirs_live_in_one_process(order):
    done = subprocess.run([sys.executable, "-c", TOGETHER, *order], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr


BESIDE_TRITON = """
import sys
def us():
    from tensorhost.codecs.oip import read_grpc_request
    global read
    read = read_grpc_request
def them():
    from tritonclient.grpc import service_pb2
    global theirs
    theirs = service_pb2
for part in sys.argv[1:]:
    globals()[part]()
request = theirs.ModelInferRequest(model_name="m", id="q", raw_input_contents=[b"abc"])
request.inputs.add(name="x", datatype="UINT8", shape=[3])
ours = read(request.SerializeToString())
assert (ours.model_name, ours.id) == ("m", "q")
assert ours.inputs[0].decode(max_elements=3).tolist() == list(b"abc")
from tensorhost.codecs.protobuf import message_class
assert message_class("inference.ModelInferRequest") is not theirs.ModelInferRequest
"""


@pytest.mark.parametrize("order", [("us", "them"), ("them", "us")])
def test_ours_and_those_of_tritons_client_live_in_one_process(order):
    done = subprocess.run([sys.executable, "-c", BESIDE_TRITON, *order], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
