"""What TensorFlow Serving's flags mean in settings, flag by flag."""

from __future__ import annotations

import pytest

from tensorhost.cli.model_server.flags import FLAGS
from tensorhost.cli.model_server.parsing import parse
from tensorhost.cli.model_server.start import settings_and_notes
from tensorhost.cli.model_server.translation import FIXED, RULES, flags_of, translate, with_image_environment
from tensorhost.codecs.protobuf import parse_text
from tensorhost.core.errors import InvalidRequestError
from tensorhost.settings import setting_fields

MODEL = "--model_base_path=/models/m"
MONITORING = "tensorflow.serving.MonitoringConfig"
BATCHING = "tensorflow.serving.BatchingParameters"

DEFAULTS = {
    "grpc_port": 8500,
    "grpc_socket_path": None,
    "http": False,
    "tfserving_timeout_ms": 30000,
    "tfserving_cors": False,
    "labels_may_wait": False,
    "model_config_poll_s": 0,
    "load_attempts": 6,
    "load_retry_interval_s": 60.0,
    "poll_interval_s": 1,
    "intra_op_threads": 0,
    "inter_op_threads": 0,
    "session_config_file": None,
    "grpc_ssl_config_file": None,
    "gpu_memory_fraction": 0.0,
    "saved_model_tags": "serve",
    "grpc_channel_arguments": "",
    "warmup_records": True,
    "warmup_record_iterations": 1,
    "tfserving_metrics_path": "",
    "prefer_tflite": False,
    "tfserving_method_names": False,
    "grpc_profiler": True,
    "grpc_health": False,
    "tfserving_tensor_content": False,
    "import_modules": (),
    "custom_op_libraries": (),
}


def chosen(*arguments, **messages):
    """The settings that follow from flags, those of the model left out."""
    result = translate(parse([MODEL, *arguments]), messages)
    return {name: value for name, value in result.chosen.items() if name not in ("model_name", "model_path")}


def test_the_least_that_serves():
    result = translate(parse([MODEL]), {})
    assert result.chosen == {"model_name": "default", "model_path": "/models/m"}
    assert result.defaults == {**FIXED, **DEFAULTS}
    assert (result.notes, result.problem) == ({}, "")


@pytest.mark.parametrize(
    ("argument", "settings"),
    [
        ("--port=9000", {"grpc_port": 9000}),
        ("--grpc_socket_path=/run/grpc.sock", {"grpc_socket_path": "/run/grpc.sock"}),
        ("--rest_api_port=8501", {"http": True, "port": 8501}),
        ("--rest_api_port=0", {"http": False}),
        ("--rest_api_timeout_in_ms=5000", {"tfserving_timeout_ms": 5000}),
        ("--rest_api_enable_cors_support", {"tfserving_cors": True}),
        ("--enable_batching=false", {"batching": False}),
        ("--allow_version_labels_for_unavailable_models", {"labels_may_wait": True}),
        ("--model_config_file_poll_wait_seconds=10", {"model_config_poll_s": 10}),
        ("--model_config_file_poll_wait_seconds=-1", {"model_config_poll_s": 0}),
        ("--num_load_threads=4", {"load_threads": 4}),
        ("--num_load_threads=0", {}),
        ("--num_load_threads=64", {"load_threads": 16}),
        ("--max_num_load_retries=0", {"load_attempts": 1}),
        ("--load_retry_interval_micros=1500", {"load_retry_interval_s": 0.0015}),
        ("--file_system_poll_wait_seconds=30", {"poll_interval_s": 30}),
        ("--file_system_poll_wait_seconds=-1", {"poll_interval_s": 0}),
        ("--tensorflow_session_parallelism=3", {"intra_op_threads": 3, "inter_op_threads": 3}),
        ("--tensorflow_intra_op_parallelism=3", {"intra_op_threads": 3, "inter_op_threads": 0}),
        ("--tensorflow_inter_op_parallelism=3", {"intra_op_threads": 0, "inter_op_threads": 3}),
        ("--tensorflow_session_config_file=/s.pbtxt", {"session_config_file": "/s.pbtxt"}),
        ("--ssl_config_file=/ssl.pbtxt", {"grpc_ssl_config_file": "/ssl.pbtxt"}),
        ("--per_process_gpu_memory_fraction=0.5", {"gpu_memory_fraction": 0.5}),
        ("--saved_model_tags=serve,gpu", {"saved_model_tags": "serve,gpu"}),
        ("--grpc_channel_arguments=a=1,b=c", {"grpc_channel_arguments": "a=1,b=c"}),
        ("--grpc_max_threads=8", {"grpc_max_threads": 8}),
        ("--grpc_max_threads=4096", {"grpc_max_threads": 1024}),
        ("--enable_model_warmup=false", {"warmup_records": False}),
        ("--num_request_iterations_for_warmup=4", {"warmup_record_iterations": 4}),
        ("--num_request_iterations_for_warmup=0", {"warmup_record_iterations": 1}),
        ("--prefer_tflite_model", {"prefer_tflite": True}),
        ("--enable_signature_method_name_check", {"tfserving_method_names": True}),
        ("--enable_profiler=false", {"grpc_profiler": False}),
        ("--mixed_precision=bfloat16", {"precision": "bf16"}),
        ("--enable_grpc_healthcheck_service", {"grpc_health": True}),
        ("--enable_serialization_as_tensor_content", {"tfserving_tensor_content": True}),
        ("--import=tensorflow_text", {"import_modules": ("tensorflow_text",)}),
        ("--custom_op_library=/ops.so", {"custom_op_libraries": ("/ops.so",)}),
    ],
)
def test_a_flag_becomes_its_settings(argument, settings):
    assert chosen(argument) == settings


def test_a_config_file_replaces_the_one_model():
    result = translate(parse([MODEL, "--model_name=m", "--model_config_file=/models.config"]), {})
    assert result.chosen == {"model_config_file": "/models.config"}


def test_both_kinds_of_threads_and_one_of_them():
    assert chosen("--tensorflow_session_parallelism=2", "--tensorflow_inter_op_parallelism=4") == {
        "intra_op_threads": 2,
        "inter_op_threads": 4,
    }


def test_batching_without_a_file_is_batching_with_its_defaults():
    assert chosen("--enable_batching") == {
        "batching": True,
        "per_version_batching": False,
        "max_batch_size": 1000,
        "batch_timeout_ms": 0.0,
        "max_queue_rows": 10_000,
        "allowed_batch_sizes": (),
        "pad_variable_length_inputs": False,
        "split_large_requests": False,
    }


def test_a_batching_file():
    text = """
        max_batch_size { value: 128 }, batch_timeout_micros: { value: 1500 }
        max_enqueued_batches { value: 0 }  num_batch_threads { value: 8 }  # a comment
        allowed_batch_sizes: 8; allowed_batch_sizes: 128 pad_variable_length_inputs: true
        enable_large_batch_splitting { value: true } max_execution_batch_size { value: 64 }
        thread_pool_name { value: 'x' }
    """
    assert chosen(
        "--enable_batching",
        "--enable_per_model_batching_parameters",
        "--batching_parameters_file=f",
        batching_parameters_file=parse_text(BATCHING, text, "f"),
    ) == {
        "batching": True,
        "per_version_batching": True,
        "max_batch_size": 128,
        "batch_timeout_ms": 1.5,
        "max_queue_rows": 128,
        "num_batch_threads": 8,
        "allowed_batch_sizes": (8, 128),
        "pad_variable_length_inputs": True,
        "split_large_requests": True,
        "max_execution_batch_size": 64,
    }


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("prometheus_config { enable: true path: '/metrics/here' }", "/metrics/here"),
        ("prometheus_config: { enable: true }", "/monitoring/prometheus/metrics"),
        ("prometheus_config { enable: false path: '/metrics/here' }", ""),
        ("", ""),
    ],
)
def test_a_monitoring_file(text, path):
    message = parse_text(MONITORING, text, "f")
    assert chosen("--monitoring_config_file=f", monitoring_config_file=message) == {"tfserving_metrics_path": path}


@pytest.mark.parametrize("flag", [flag for flag in FLAGS.values() if flag.instead], ids=lambda flag: flag.name)
def test_a_flag_without_effect_is_one_line_and_no_setting(flag):
    given = parse([MODEL]).with_values(**{flag.name: flag.default})
    result = translate(given, {})
    assert result.notes == {flag.name: flag.instead}
    assert "\n" not in flag.instead
    assert result.chosen == translate(parse([MODEL]), {}).chosen


def test_every_flag_with_an_effect_is_in_one_rule():
    ruled = [flag for rule in RULES for flag in rule.decides]
    assert sorted(ruled) == sorted(flag.name for flag in FLAGS.values() if flag.takes_effect and flag.name != "version")


def test_rules_set_what_they_name_and_only_settings_that_there_are():
    values = parse(
        [MODEL, "--enable_batching", "--rest_api_port=1", "--num_load_threads=1", "--mixed_precision=bfloat16"]
    )
    named = [setting for rule in RULES for setting in rule.settings]
    assert len(named) == len(set(named))
    assert {*named, *FIXED} <= setting_fields().keys()
    for rule in RULES:
        assert rule.apply(values, {}).keys() <= set(rule.settings)


def test_the_flags_behind_a_setting():
    assert set(flags_of("max_batch_size")) >= {"enable_batching", "batching_parameters_file"}
    assert flags_of("port") == ("rest_api_port",)
    assert flags_of("workers") == ()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Both --model_base_path and --model_config_file are empty"),
        ([MODEL, "--port=0"], "One of --port, --grpc_socket_path and --rest_api_port"),
        ([MODEL, "--batching_parameters_file=f"], "--batching_parameters_file is set without --enable_batching"),
        (
            [MODEL, *(f"--tensorflow_{name}_parallelism=1" for name in ("session", "intra_op", "inter_op"))],
            "--tensorflow_session_parallelism sets both",
        ),
        ([MODEL, "--mixed_precision=float16"], "--mixed_precision can only be bfloat16"),
    ],
)
def test_what_contradicts_itself_is_refused(arguments, said):
    with pytest.raises(InvalidRequestError, match=said):
        translate(parse(arguments), {})


@pytest.mark.parametrize("argument", ["--grpc_socket_path=/s", "--rest_api_port=1"])
def test_one_place_to_listen_is_enough(argument):
    assert chosen("--port=0", argument)["grpc_port"] == 0


def test_one_port_for_both_leaves_grpc():
    result = translate(parse([MODEL, "--port=8500", "--rest_api_port=8500"]), {})
    assert result.chosen["http"] is False
    assert "the same as --port" in result.problem


@pytest.mark.parametrize(
    ("environment", "arguments", "name", "path"),
    [
        ({"MODEL_NAME": "m"}, [], "m", "/models/m"),
        ({"MODEL_BASE_PATH": "/srv/"}, [], "model", "/srv/model"),
        ({"MODEL_NAME": "m", "MODEL_BASE_PATH": "/srv"}, [], "m", "/srv/m"),
        ({"MODEL_NAME": "m", "MODEL_BASE_PATH": "/srv"}, ["--model_name=n"], "n", "/srv/n"),
        ({"MODEL_NAME": "m"}, ["--model_base_path=/x"], "default", "/x"),
        ({"MODEL_NAME": "m"}, ["--model_config_file=/x"], "default", ""),
        ({}, [], "default", ""),
        ({"MODEL_PATH": "/models"}, [], "default", ""),
    ],
)
def test_the_environment_of_the_image(environment, arguments, name, path):
    values = with_image_environment(parse(arguments), environment)
    assert (values.text("model_name"), values.text("model_base_path")) == (name, path)


@pytest.mark.parametrize(
    "flag", ["num_load_threads", "grpc_max_threads", "rest_api_num_threads", "max_num_load_retries"]
)
def test_however_much_is_allowed_the_server_starts(tmp_path, flag):
    settings_and_notes(parse([f"--model_base_path={tmp_path}", "--port=8500", f"--{flag}={2**31 - 1}"]), {})
