"""Reading the command line of ``tensorflow_model_server``."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorhost.cli.model_server.flags import FLAGS, OURS, THEIRS, Kind
from tensorhost.cli.model_server.parsing import FlagError, parse, usage

CORES = os.cpu_count() or 1
TENSORFLOW_SERVING = {
    "port": 8500,
    "grpc_socket_path": "",
    "rest_api_port": 0,
    "rest_api_num_threads": 4 * CORES,
    "rest_api_timeout_in_ms": 30000,
    "rest_api_enable_cors_support": False,
    "enable_batching": False,
    "allow_version_labels_for_unavailable_models": False,
    "batching_parameters_file": "",
    "enable_per_model_batching_parameters": False,
    "model_config_file": "",
    "model_config_file_poll_wait_seconds": 0,
    "model_name": "default",
    "model_base_path": "",
    "num_load_threads": 0,
    "num_unload_threads": 0,
    "max_num_load_retries": 5,
    "load_retry_interval_micros": 60_000_000,
    "file_system_poll_wait_seconds": 1,
    "flush_filesystem_caches": True,
    "tensorflow_session_parallelism": 0,
    "tensorflow_intra_op_parallelism": 0,
    "tensorflow_inter_op_parallelism": 0,
    "tensorflow_session_config_file": "",
    "use_alts_credentials": False,
    "ssl_config_file": "",
    "platform_config_file": "",
    "per_process_gpu_memory_fraction": 0.0,
    "saved_model_tags": "serve",
    "grpc_channel_arguments": "",
    "grpc_max_threads": 4 * CORES,
    "enable_model_warmup": True,
    "num_request_iterations_for_warmup": 0,
    "version": False,
    "monitoring_config_file": "",
    "remove_unused_fields_from_bundle_metagraph": True,
    "prefer_tflite_model": False,
    "num_tflite_pools": CORES,
    "num_tflite_interpreters_per_pool": 1,
    "enable_signature_method_name_check": False,
    "xla_cpu_compilation_enabled": False,
    "xla_gpu_compilation_enabled": False,
    "enable_profiler": True,
    "thread_pool_factory_config_file": "",
    "mixed_precision": "",
    "skip_initialize_tpu": False,
    "enable_grpc_healthcheck_service": False,
    "enable_serialization_as_tensor_content": False,
}


def test_all_flags_of_tensorflow_serving_are_there_with_their_defaults():
    assert len(TENSORFLOW_SERVING) == 48
    defaults = {flag.name: flag.default for flag in THEIRS}
    assert defaults == TENSORFLOW_SERVING
    assert {name: type(value) for name, value in defaults.items()} == {
        name: type(value) for name, value in TENSORFLOW_SERVING.items()
    }


def test_nothing_given_is_every_default():
    values = parse([])
    assert values.values == TENSORFLOW_SERVING | {flag.name: flag.default for flag in OURS}
    assert values.given == frozenset()


@pytest.mark.parametrize("flag", [*THEIRS, *OURS], ids=lambda flag: flag.name)
def test_every_flag_is_read_as_its_type(flag):
    text, value = {
        Kind.INT32: ("-2147483648", -(2**31)),
        Kind.INT64: ("+9223372036854775807", 2**63 - 1),
        Kind.FLOAT: ("0.25", 0.25),
        Kind.BOOL: ("false" if flag.default is True else "true", flag.default is not True),
        Kind.STRING: ("/a b=c,d", "/a b=c,d"),
        Kind.STRINGS: ("a,b", ("a", "b")),
    }[flag.kind]
    values = parse([f"--{flag.name}={text}"])
    assert values.values == parse([]).values | {flag.name: value}
    assert values.given == {flag.name}


def test_a_bool_alone_is_true():
    assert parse(["--enable_batching"]).flag("enable_batching")
    assert not parse(["--enable_profiler=false"]).flag("enable_profiler")


def test_of_a_flag_given_twice_the_last_counts():
    # The entry point of TensorFlow Serving's image gives defaults first and the user's flags behind them.
    assert parse(["--port=1", "--port=2"]).number("port") == 2


def test_a_flag_that_may_be_repeated_adds_up():
    assert parse(["--import=a", "--import=b,c", "--import="]).values["import"] == ("a", "b", "c")


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("--prot=8500", "There is no flag --prot. Did you mean --port?"),
        ("--rest-api-port=1", "There is no flag --rest-api-port. Did you mean --rest_api_port?"),
        ("--model_basepath=/x", "There is no flag --model_basepath. Did you mean --model_base_path?"),
        ("--noenable_batching", "There is no flag --noenable_batching. Did you mean --enable_batching?"),
        ("--workers=2", "There is no flag --workers."),
        ("--=1", "There is no flag --."),
        ("8500", "'8500' is no flag. A flag and its value are one word: --name=value."),
        ("-port=8500", "'-port=8500' is no flag. A flag and its value are one word: --name=value."),
        ("--", "'--' is no flag. A flag and its value are one word: --name=value."),
        ("", "'' is no flag. A flag and its value are one word: --name=value."),
        ("--port", "--port needs a value, in the same word: --port=8500."),
        ("--model_base_path", "--model_base_path needs a value, in the same word: --model_base_path=..."),
        ("--enable_batching=True", "--enable_batching is true or false, in small letters, not 'True'."),
        ("--enable_batching=", "--enable_batching is true or false, in small letters, not ''."),
        ("--port=eight", "--port takes an integer of 32 bits, not 'eight'."),
        ("--port=8_500", "--port takes an integer of 32 bits, not '8_500'."),
        ("--port=٨", "--port takes an integer of 32 bits, not '٨'."),
        ("--port=8500.0", "--port takes an integer of 32 bits, not '8500.0'."),
        ("--port=2147483648", "--port takes an integer of 32 bits, not '2147483648'."),
        ("--port=", "--port takes an integer of 32 bits, not ''."),
        (f"--port={'9' * 100}", f"--port takes an integer of 32 bits, not '{'9' * 64}'."),
        ("--load_retry_interval_micros=9223372036854775808", "an integer of 64 bits, not '9223372036854775808'."),
        ("--per_process_gpu_memory_fraction=half", "--per_process_gpu_memory_fraction takes a number, not 'half'."),
        ("--per_process_gpu_memory_fraction=nan", "--per_process_gpu_memory_fraction takes a number, not 'nan'."),
    ],
)
def test_what_is_not_understood_is_said(argument, said):
    with pytest.raises(FlagError) as refused:
        parse(["--port=1", argument])
    assert said in str(refused.value)


@given(st.lists(st.one_of(st.text(), st.sampled_from([f"--{name}=1" for name in FLAGS])), max_size=4))
def test_any_command_line_is_read_or_refused(arguments):
    try:
        values = parse(arguments)
    except FlagError:
        return
    assert values.values.keys() == FLAGS.keys()


def test_the_usage_text_names_every_flag_and_what_has_no_effect():
    text = usage("server")
    assert text.startswith("usage: server --name=value")
    for flag in (*THEIRS, *OURS):
        assert f"  --{flag.name}=" in text
    assert "--port=8500  (int32)" in text
    assert "--rest_api_port=0  (int32)" in text
    assert "--rest_api_num_threads=4 per core  (int32)" in text
    assert text.count("Accepted without effect:") == sum(not flag.takes_effect for flag in THEIRS)
