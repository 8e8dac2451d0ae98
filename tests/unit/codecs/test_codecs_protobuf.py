import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorhost.codecs.protobuf import POOL, decode, message_class, parse_text
from tensorhost.core.errors import InvalidRequestError

CONFIG = "tensorflow.serving.ModelServerConfig"


def parse(text: str):
    return parse_text(CONFIG, text, "models.config")


@pytest.mark.parametrize(
    "text",
    [
        "model_config_list { config { name: 'm' base_path: '/m' model_platform: 'tensorflow' } }",
        'model_config_list: { config: { name: "m", base_path: "/m"; model_platform: "tensorflow", }, }',
        "# a comment\nmodel_config_list < config < name: 'm' # more\nbase_path: '/m' model_platform: 'tensorflow' > >",
        "model_config_list { config: [{ name: 'm' base_path: '/' 'm' model_platform: 'tensor' \"flow\" }] }",
    ],
)
def test_the_many_ways_to_write_a_config(text):
    (config,) = parse(text).model_config_list.config
    assert (config.name, config.base_path, config.model_platform) == ("m", "/m", "tensorflow")


def test_policies_and_labels():
    message = parse(
        "model_config_list { config { name: 'm' model_version_policy { specific { versions: 42 versions: 43 } }"
        "version_labels { key: 'stable' value: 42 } version_labels { key: 'canary' value: 43 } } }"
    )
    (config,) = message.model_config_list.config
    assert list(config.model_version_policy.specific.versions) == [42, 43]
    assert dict(config.version_labels) == {"stable": 42, "canary": 43}


def test_an_any_is_expanded_with_the_messages_of_our_pool():
    platforms = parse_text(
        "tensorflow.serving.PlatformConfigMap",
        "platform_configs { key: 'tensorflow' value { source_adapter_config {"
        "[type.googleapis.com/tensorflow.serving.SavedModelBundleSourceAdapterConfig] {"
        "legacy_config { batching_parameters { max_batch_size { value: 128 } } } } } } }",
        "platform.config",
    )
    packed = platforms.platform_configs["tensorflow"].source_adapter_config
    config = message_class("tensorflow.serving.SavedModelBundleSourceAdapterConfig")()
    assert packed.Unpack(config)
    assert config.legacy_config.batching_parameters.max_batch_size.value == 128


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("model_config_list { config { nam: 'm' } }", "1:30"),
        ("model_config_list {\n  config {\n    name: 5\n  }\n}", "3:11"),
        ("model_config_list { config { name: 'm' name: 'n' } }", "1:46"),
        ("model_config_list {", "1:19"),
        ("model_config_list { config { version_labels { key: 'a' value: 'b' } } }", "1:63"),
        ("\0", "1:1"),
        ("model_config_list { config { model_version_policy { latest { num_versions: -1 } } } }", "1:76"),
        ("custom_model_config {\n [type.googleapis.com/no.Such] { } }", "2:23"),
        ("model_config_list { } custom_model_config { }", "1:23"),
    ],
)
def test_an_error_says_where(text, place):
    with pytest.raises(InvalidRequestError) as caught:
        parse(text)
    begin = f"Error parsing text-format {CONFIG}: {place}: "
    assert caught.value.message.startswith(begin)
    assert len(caught.value.message) > len(begin)
    line, _, column = place.partition(":")
    assert caught.value.details == {"source": "models.config", "line": int(line), "column": int(column)}


def test_text_that_is_nested_too_deeply_is_refused():
    with pytest.raises(InvalidRequestError, match=r"format tensorflow\.TypeSpecProto: 1:1: Nested too deeply\."):
        parse_text("tensorflow.TypeSpecProto", "type_state { " + "list_value { values { " * 5000, "x")


@given(st.text(max_size=60))
def test_text_of_any_kind_is_a_message_or_the_clients_error(text):
    with suppress(InvalidRequestError):
        parse(text)


def test_bytes_become_a_message_or_the_clients_error():
    spec = decode("tensorflow.serving.ModelSpec", b"\x0a\x01m")
    assert spec.name == "m"
    assert decode(message_class("tensorflow.serving.ModelSpec"), b"\x0a\x01m") == spec
    for data in (b"\x0a\x05m", b"\xff", b"\x0a\x01\xff", b"\x0b"):
        with pytest.raises(InvalidRequestError, match=r"not a message tensorflow\.serving\.ModelSpec"):
            decode("tensorflow.serving.ModelSpec", data)


def test_a_message_nested_without_end_is_refused():
    deep = b""
    for _ in range(20_000):
        length = len(deep)
        size = bytes((length & 0x7F | 0x80, length >> 7 & 0x7F | 0x80, length >> 14))
        deep = b"\x7a" + size + deep  # variant_val
        deep = b"\x1a" + bytes((len(deep) & 0x7F | 0x80, len(deep) >> 7 & 0x7F | 0x80, len(deep) >> 14)) + deep
        if len(deep) > 1_500_000:
            break
    with pytest.raises(InvalidRequestError):
        decode("tensorflow.VariantTensorDataProto", deep)


def test_there_is_no_message_of_another_name():
    with pytest.raises(KeyError):
        message_class("tensorflow.serving.NoSuchRequest")


def test_classes_are_made_once():
    assert message_class("tensorflow.TensorProto") is message_class("tensorflow.TensorProto")


@pytest.mark.parametrize(
    ("view", "whole"),
    [
        ("TensorProto", "tensorflow.TensorProto"),
        ("PredictRequest", "tensorflow.serving.PredictRequest"),
        ("PredictResponse", "tensorflow.serving.PredictResponse"),
        ("Input", "tensorflow.serving.Input"),
        ("ExampleList", "tensorflow.serving.ExampleList"),
        ("ExampleListWithContext", "tensorflow.serving.ExampleListWithContext"),
        ("ExamplesRequest", "tensorflow.serving.ClassificationRequest"),
        ("ExamplesRequest", "tensorflow.serving.RegressionRequest"),
        ("InferenceTask", "tensorflow.serving.InferenceTask"),
        ("MultiInferenceRequest", "tensorflow.serving.MultiInferenceRequest"),
        ("ExchangeLog", "tensorflow.serving.PredictLog"),
        ("ExchangeLog", "tensorflow.serving.ClassifyLog"),
        ("ExchangeLog", "tensorflow.serving.RegressLog"),
        ("ExchangeLog", "tensorflow.serving.MultiInferenceLog"),
        ("ExchangeLog", "tensorflow.serving.SessionRunLog"),
        ("PredictionLog", "tensorflow.serving.PredictionLog"),
        ("InferTensorContents", "inference.InferTensorContents"),
        ("InferInputTensor", "inference.ModelInferRequest.InferInputTensor"),
        ("ModelInferRequest", "inference.ModelInferRequest"),
    ],
)
def test_a_wire_view_has_the_fields_of_the_whole_message(view, whole):
    """Every field has the number and, where the view turns it into bytes, a length on the wire."""
    seen = POOL.FindMessageTypeByName(f"tensorhost.wire.{view}")
    true = POOL.FindMessageTypeByName(whole)
    for field in seen.fields:
        meant = true.fields_by_number[field.number]
        assert meant.name == field.name
        is_lengthy = meant.type in {meant.TYPE_MESSAGE, meant.TYPE_STRING, meant.TYPE_BYTES} or meant.is_packed
        if field.type == field.TYPE_BYTES:
            assert is_lengthy
        else:
            assert field.type == meant.type
    left = {field.name for field in true.fields} - {field.name for field in seen.fields}
    assert left <= {"resource_handle_val", "variant_val", "predict_streamed_options", "client_id", "request_options"}


def test_the_compiled_descriptors_are_those_of_the_sources():
    script = Path(__file__).parents[3] / "scripts" / "compile_protos.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
