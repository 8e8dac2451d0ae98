"""How ``tensorflow_model_server`` starts and ends. The server itself is a stand-in here."""

from __future__ import annotations

import logging
import re
import sys
from types import ModuleType

import pytest
from typer.testing import CliRunner

from tensorhost.cli import app
from tensorhost.cli.model_server import main, run
from tensorhost.server.listener import CannotStartError

MODEL = "--model_base_path=/models/m"


@pytest.fixture
def logging_restored():
    """What the command sets up for its own process is taken back in this one."""
    root, absl = logging.getLogger(), logging.getLogger("absl")
    before, level, of_absl = list(root.handlers), root.level, absl.level
    yield
    root.handlers[:] = before
    root.setLevel(level)
    absl.setLevel(of_absl)


@pytest.fixture
def server(monkeypatch, logging_restored):
    """A module in the place of ``tensorhost.server``, which keeps the settings it is started with."""
    module = ModuleType("tensorhost.server")
    module.started = []

    def start(settings, *, banner=None):
        module.started.append(settings)
        if banner is not None:
            banner("http://0.0.0.0:8501, gRPC at 0.0.0.0:8500")
        return 0

    module.run = start
    monkeypatch.setitem(sys.modules, "tensorhost.server", module)
    for name in ("PORT", "HOST", "MODEL_PATH", "MODEL_NAME", "MODEL_BASE_PATH", "TENSORHOST_GRPC_PORT", "LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)
    return module


def test_flags_become_settings_and_the_servers_exit_code_is_the_commands(server, capsys):
    assert run([MODEL, "--model_name=m", "--rest_api_port=8501"], "server") == 0
    [settings] = server.started
    assert (settings.http, settings.port, settings.grpc_port) == (True, 8501, 8500)
    assert (settings.host, settings.model_name, str(settings.model_path)) == ("0.0.0.0", "m", "/models/m")
    assert (settings.batching, settings.open_control, settings.grpc_max_message_bytes) == (True, True, 0)
    out, err = capsys.readouterr()
    assert out == ""
    assert "the gRPC port is open for control" in err.splitlines()[0]
    assert err.splitlines()[1:] == [
        "Running gRPC ModelServer at 0.0.0.0:8500 ...",
        "Exporting HTTP/REST API at:localhost:8501 ...",
    ]
    server.run = lambda settings, *, banner=None: 1
    assert run([MODEL], "server") == 1


def test_logs_for_machines_have_no_lines_between_them(server, monkeypatch, capsys):
    monkeypatch.setenv("TENSORHOST_LOG_FORMAT", "json")
    monkeypatch.setenv("HOST", "127.0.0.1")
    assert run([MODEL, "--rest_api_port=8501"], "server") == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("closed", [{"HOST": "127.0.0.1"}, {"TENSORHOST_ADMIN_TOKEN": "secret"}])
def test_nothing_is_said_of_openness_where_there_is_none(server, monkeypatch, capsys, closed):
    for name, value in closed.items():
        monkeypatch.setenv(name, value)
    assert run([MODEL], "server") == 0
    assert "open for control" not in capsys.readouterr().err


def test_what_is_given_beats_the_environment_which_beats_what_is_not(server, monkeypatch):
    monkeypatch.setenv("TENSORHOST_POLL_INTERVAL_S", "7")
    monkeypatch.setenv("HOST", "127.0.0.1")
    monkeypatch.setenv("TENSORHOST_BATCHING", "false")
    run([MODEL], "server")
    run([MODEL, "--file_system_poll_wait_seconds=3", "--enable_batching"], "server")
    first, second = server.started
    assert (first.poll_interval_s, first.host, first.batching) == (7, "127.0.0.1", False)
    assert (second.poll_interval_s, second.host, second.batching) == (3, "127.0.0.1", True)


def test_settings_without_a_flag_come_from_the_environment(server, monkeypatch):
    monkeypatch.setenv("TENSORHOST_WORKERS", "2")
    run([MODEL], "server")
    assert server.started[0].workers == 2


def test_the_environment_of_the_image_names_the_model(server, monkeypatch):
    monkeypatch.setenv("MODEL_NAME", "m")
    monkeypatch.setenv("MODEL_PATH", "/elsewhere")
    run([], "server")
    assert (server.started[0].model_name, str(server.started[0].model_path)) == ("m", "/models/m")


def test_flags_without_effect_are_one_line_each(server, capsys):
    run([MODEL, "--flush_filesystem_caches=true", "--num_tflite_pools=2", "--port=1", "--rest_api_port=1"], "server")
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if "without effect" in line and "flush_filesystem_caches" in line]
    assert [line for line in lines if "without effect" in line and "num_tflite_pools" in line]
    assert [line for line in lines if "same as --port" in line]
    assert len(lines) == 5
    assert server.started[0].http is False


@pytest.mark.parametrize("flag", ["--help", "--helpfull", "-h"])
def test_help_is_the_usage_text(server, capsys, flag):
    assert run([MODEL, flag], "server") == 0
    assert capsys.readouterr().out.startswith("usage: server --name=value")
    assert server.started == []


def test_version_is_in_tensorflow_servings_form(server, capsys):
    assert run(["--version"], "server") == 0
    assert re.fullmatch(r"TensorFlow ModelServer: tensorhost \S+\nTensorFlow Library: .+\n", capsys.readouterr().out)
    assert server.started == []


def test_a_flag_that_is_none_is_refused_with_the_near_one(server, capsys):
    assert run([MODEL, "--rest_api_prt=8501"], "server") == 255
    assert capsys.readouterr() == (
        "",
        "There is no flag --rest_api_prt. Did you mean --rest_api_port?\nserver --help lists the flags.\n",
    )
    assert server.started == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "INVALID_ARGUMENT: Both --model_base_path and --model_config_file are empty: there is nothing to serve."),
        ([MODEL, "--port=70000"], r"INVALID_ARGUMENT: Invalid settings: grpc_port: .* \(from --port\)"),
        ([MODEL, "--rest_api_port=-5"], r"INVALID_ARGUMENT: Invalid settings: port: .* \(from --rest_api_port\)"),
        (
            [MODEL, "--grpc_channel_arguments=x"],
            "INVALID_ARGUMENT: Invalid settings: Value error, grpc_channel_arguments: .*",
        ),
        (
            [MODEL, "--model_name=a/b"],
            r"INVALID_ARGUMENT: Invalid settings: model_name: .* \(from --model_name, --model_base_path\)",
        ),
        (
            [MODEL, "--enable_batching", "--batching_parameters_file=/none"],
            "INVALID_ARGUMENT: Cannot read the file of --batching_parameters_file, /none: No such file or directory.",
        ),
    ],
)
def test_what_keeps_it_from_starting_is_said(server, capsys, arguments, said):
    assert run(arguments, "server") == 255
    assert re.fullmatch(f"Failed to start server. Error: {said}\n", capsys.readouterr().err)
    assert server.started == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            b"max_batch_size { value: 8 }\nmax_batch_sise: 3\n",
            'Error parsing text-format tensorflow.serving.BatchingParameters: 2:1: .*"max_batch_sise".*',
        ),
        (b"\xff\xfe", "Cannot read the file of --batching_parameters_file, .*: it is not UTF-8 text."),
        (
            b"#" * (2**20 + 1),
            "Cannot read the file of --batching_parameters_file, .*: it is larger than 1048576 bytes.",
        ),
        (
            b"max_batch_size { value: -1 }",
            r"Invalid settings: max_batch_size: .* \(from --enable_batching, --batching_parameters_file\)",
        ),
    ],
)
def test_a_bad_file_is_said_with_its_place(server, capsys, tmp_path, content, said):
    file = tmp_path / "batching.config"
    file.write_bytes(content)
    assert run([MODEL, "--enable_batching", f"--batching_parameters_file={file}"], "server") == 255
    error = capsys.readouterr().err
    assert re.match(f"Failed to start server. Error: INVALID_ARGUMENT: {said}", error), error
    assert server.started == []


def test_an_address_in_use_is_one_line(server, capsys):
    def fail(settings, *, banner=None):
        raise CannotStartError("Port 8500 on 0.0.0.0 is already in use.")

    server.run = fail
    assert run([MODEL], "server") == 255
    assert capsys.readouterr().err.endswith("Error: INTERNAL: Port 8500 on 0.0.0.0 is already in use.\n")


def test_it_is_a_command_of_tensorhost_too(server):
    result = CliRunner().invoke(app, ["model-server", MODEL, "--enable_batching", "--rest_api_port=8501"])
    assert result.exit_code == 0
    assert server.started[0].batching is True
    result = CliRunner().invoke(app, ["model-server", "--help"])
    assert result.stdout.startswith("usage: tensorhost model-server --name=value")
    assert CliRunner().invoke(app, ["model-server", "--nonsense"]).exit_code == 255


def test_the_console_script_exits_with_the_code(server, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["tensorflow_model_server", "--nonsense"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 255

    def fail(settings, *, banner=None):
        raise RuntimeError("unforeseen")

    server.run = fail
    monkeypatch.setattr(sys, "argv", ["tensorflow_model_server", MODEL])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert "Internal fault: RuntimeError('unforeseen')" in capsys.readouterr().err
