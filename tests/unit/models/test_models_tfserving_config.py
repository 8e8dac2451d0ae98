"""TensorFlow Serving's ModelServerConfig becomes a list of models, or an error in its words."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorhost.codecs.protobuf import decode
from tensorhost.core.errors import InvalidRequestError
from tensorhost.models.listed import ListedModel, RequestLogOptions
from tensorhost.models.policy import VersionPolicy
from tensorhost.models.tfserving_config import model_list, read_model_list

TENSORFLOW = "model_platform: 'tensorflow'"


def read(*entries):
    configs = "\n".join(f"config {{ {entry} }}" for entry in entries)
    return read_model_list(f"model_config_list {{\n{configs}\n}}", "models.config")


def only(entry):
    [listed] = read(f"name: 'm' base_path: '/m' {TENSORFLOW} {entry}")
    return listed


def test_a_file_as_users_write_it():
    text = """
    # Two models.
    model_config_list: {
      config: {
        name: "first", base_path: "/models/first"; model_platform: "tensorflow"
        model_version_policy: { specific: { versions: 42 versions: [43, 44] } }
        version_labels { key: 'stable' value: 42 }
        version_labels { key: 'canary' value: 43 }
      }
      config < name: 'second' base_path: 'file:///models/two%20words' model_type: TENSORFLOW >
    }
    """
    assert read_model_list(text, "models.config") == (
        ListedModel(
            "first",
            Path("/models/first"),
            VersionPolicy(specific=frozenset({"42", "43", "44"})),
            {"stable": "42", "canary": "43"},
        ),
        ListedModel("second", Path("/models/two words")),
    )


def test_the_same_from_bytes():
    # model_config_list { config { name: "m" base_path: "/m" model_platform: "tensorflow" } }
    entry = b"\x0a\x01m\x12\x02/m\x22\x0atensorflow"
    inner = b"\x0a" + bytes([len(entry)]) + entry
    data = b"\x0a" + bytes([len(inner)]) + inner
    assert model_list(decode("tensorflow.serving.ModelServerConfig", data)) == (ListedModel("m", Path("/m")),)


@pytest.mark.parametrize(
    ("entry", "policy"),
    [
        ("", None),
        ("model_version_policy {}", None),
        ("model_version_policy { all {} }", VersionPolicy()),
        ("model_version_policy { latest {} }", VersionPolicy(latest=1)),
        ("model_version_policy { latest { num_versions: 2 } }", VersionPolicy(latest=2)),
        ("model_version_policy { specific { versions: 7 versions: 007 } }", VersionPolicy(specific=frozenset({"7"}))),
        ("model_version_policy { specific {} }", VersionPolicy(specific=frozenset())),
    ],
)
def test_policies(entry, policy):
    assert only(entry).policy == policy


def test_an_empty_list_is_not_an_empty_file():
    assert read_model_list("model_config_list {}", "f") == ()
    assert read_model_list("# nothing yet\n", "f") is None


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (
            (f"name: 'm' base_path: '/a' {TENSORFLOW}", f"name: 'm' base_path: '/b' {TENSORFLOW}"),
            "Illegal to list model m multiple times in config list",
        ),
        (
            (f"name: 'm' base_path: 'models/m' {TENSORFLOW}",),
            "Expected model m to have an absolute path or URI; got base_path()=models/m",
        ),
        ((f"name: 'm' {TENSORFLOW}",), "Expected model m to have an absolute path or URI; got base_path()="),
        (
            ("name: 'm' base_path: '/m'",),
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor ModelServerConfig::model_platform",
        ),
        (
            (f"name: 'm' base_path: '/m' {TENSORFLOW} model_type: TENSORFLOW",),
            "Illegal setting both ModelServerConfig::model_type (deprecated) and ModelServerConfig::model_platform",
        ),
        (("name: 'm' base_path: '/m' model_platform: 'caffe'",), "Model m requests unsupported platform caffe"),
        (("name: 'm' base_path: '/m' model_type: OTHER",), "Model m requests unsupported platform OTHER"),
        ((f"name: 'm' base_path: 's3://bucket/m' {TENSORFLOW}",), "not from s3://"),
        ((f"name: 'm' base_path: 'file://host/m' {TENSORFLOW}",), "must be a path or a file:// URL"),
        ((f"name: 'a/b' base_path: '/m' {TENSORFLOW}",), "The model name must be 1 to 128"),
        ((f"name: 'm' base_path: '/a\\000b' {TENSORFLOW}",), "Model m: base_path has a zero byte"),
    ],
)
def test_what_cannot_be_served(entries, message):
    with pytest.raises(InvalidRequestError) as refused:
        read(*entries)
    assert message in refused.value.message


def test_a_config_of_another_kind():
    text = "custom_model_config { [type.googleapis.com/tensorflow.serving.SamplingConfig] { } }"
    with pytest.raises(InvalidRequestError, match="Only ModelConfigList is currently supported"):
        read_model_list(text, "f")


def test_a_fault_of_form_is_found_by_line_and_column():
    with pytest.raises(InvalidRequestError) as refused:
        read_model_list("model_config_list {\n  config {\n    nam: 'm'\n  }\n}\n", "f")
    assert refused.value.message.startswith("Error parsing text-format tensorflow.serving.ModelServerConfig: 3:5: ")


def test_request_logs():
    log = "log_collector_config { filename_prefix: '/logs/m' } sampling_config { sampling_rate: 0.25 }"
    assert only(f"logging_config {{ {log} }}").request_log == RequestLogOptions(0.25, Path("/logs/m"))
    assert only("logging_config { sampling_config { sampling_rate: 0 } }").request_log is None


@pytest.mark.parametrize(
    ("log", "message"),
    [
        ("sampling_config { sampling_rate: 1.5 }", "sampling_rate"),
        ("sampling_config { sampling_rate: -1 }", "sampling_rate"),
        ("sampling_config { sampling_rate: nan }", "sampling_rate"),
        ("sampling_config { sampling_rate: 1 }", "filename_prefix"),
        ("sampling_config { sampling_rate: 1 } log_collector_config { filename_prefix: 'logs' }", "filename_prefix"),
        ("sampling_config { sampling_rate: 1 } log_collector_config { filename_prefix: '/a\\000' }", "filename_prefix"),
    ],
)
def test_request_logs_that_cannot_be_kept(log, message):
    with pytest.raises(InvalidRequestError, match=message):
        only(f"logging_config {{ {log} }}")


@given(st.text())
def test_any_text_is_a_list_or_refused(text):
    try:
        models = read_model_list(text, "f")
    except InvalidRequestError:
        return
    assert models in (None, ())


@given(st.binary(max_size=200))
def test_any_bytes_are_a_list_or_refused(data):
    try:
        models = model_list(decode("tensorflow.serving.ModelServerConfig", data))
    except InvalidRequestError:
        return
    assert isinstance(models, tuple)
