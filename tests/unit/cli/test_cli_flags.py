"""Every setting has a flag of its own, shown with default and environment variable, hiding nothing else."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
from pydantic import ByteSize
from typer.testing import CliRunner

from tensorhost.cli import app
from tensorhost.cli.flags import setting_flags
from tensorhost.settings import Settings, environment_variable, setting_fields

WITH_FLAG = [setting for setting in setting_flags() if setting.flag]


@pytest.fixture
def serve(monkeypatch, tmp_path):
    """Runs ``serve`` on an empty folder and returns the settings the server would run with, or the failed result."""
    for field in setting_fields():
        monkeypatch.delenv(environment_variable(field), raising=False)
    seen: list[Settings] = []
    server = ModuleType("tensorhost.server")
    server.run = lambda settings, *, banner=None: seen.append(settings) or 0
    monkeypatch.setitem(sys.modules, "tensorhost.server", server)

    def run(*args, path=tmp_path):
        seen.clear()
        result = CliRunner().invoke(app, ["serve", *([str(path)] if path else []), *args])
        return (seen[0] if seen else None), result

    return run


def example(setting):
    """A valid value that is not the default, as the command line takes it, and as the settings hold it."""
    default = setting_fields()[setting.field].default
    if setting.kind is bool:
        return (setting.flag if not default else f"--no-{setting.flag[2:]}"), None, not default
    special = {
        "log_level": "debug",
        "log_format": "json",
        "loading": "lazy",
        "trust": "strict",
        "runtime": "openvino",
        "precision": "bf16",
        "version_policy": "all",
        "max_json_depth": "65",
        "load_threads": "2",
        "memory_budget": "4GiB",
        "host": "0.0.0.0",
        "grpc_transport": "grpcio",
        "grpc_channel_arguments": "grpc.keepalive_time_ms=1000",
        "model_name": "m",
        "tfserving_metrics_path": "/monitoring",
        "oip_shared_memory_prefix": "mine_",
        "vertex_health_route": "/alive",
        "vertex_predict_route": "/predict",
        "container_model": "m",
        "container_api": "oip",
    }
    if setting.field in special:
        text = special[setting.field]
        if setting.field == "memory_budget":
            return setting.flag, text, 4 * 2**30
        return setting.flag, text, text if default is None else type(default)(text)
    if isinstance(default, ByteSize) or setting.field in ("probe_memory", "grpc_max_message_bytes"):
        return setting.flag, "1MiB", 2**20
    if isinstance(default, int | float):
        return setting.flag, str(default + 1), default + 1
    if setting.field == "load_retry_interval_s":
        return setting.flag, "1.5", 1.5
    if setting.field == "max_execution_batch_size":
        return setting.flag, "16", 16
    if setting.field == "allowed_batch_sizes":
        return setting.flag, "8,32", (8, 32)
    if setting.field == "saved_model_tags":
        return setting.flag, "serve,gpu", ("serve", "gpu")
    if setting.field == "cors_origins":
        return setting.flag, "http://a,http://b", ("http://a", "http://b")
    if setting.field == "import_modules":
        return setting.flag, "tensorflow_text,layers.own", ("tensorflow_text", "layers.own")
    if setting.field in ("allowed_roots", "custom_op_libraries"):
        return setting.flag, "/srv/a:/srv/b", (Path("/srv/a"), Path("/srv/b"))
    return setting.flag, "some.pem", Path("some.pem")


def test_every_setting_is_there_once_and_only_secrets_lack_a_flag():
    assert [setting.field for setting in setting_flags()] == list(setting_fields())
    assert [setting.field for setting in setting_flags() if not setting.flag] == ["model_path", "admin_token"]
    assert all(setting.panel and setting.description for setting in setting_flags())


@pytest.mark.parametrize("setting", WITH_FLAG, ids=lambda setting: setting.field)
def test_a_flag_reaches_the_settings(serve, setting):
    flag, text, expected = example(setting)
    extra = {
        "tls_certfile": ["--tls-keyfile", "k"],
        "tls_keyfile": ["--tls-certfile", "c"],
        "tls_client_ca": ["--tls-certfile", "c", "--tls-keyfile", "k"],
    }.get(setting.field, [])
    settings, result = serve(flag, *([] if text is None else [text]), *extra)
    assert result.exit_code == 0, result.output
    assert getattr(settings, setting.field) == expected


@pytest.mark.parametrize(
    "arguments",
    [
        ["--import", "a", "--import", "b.c", "--import", "d"],
        ["--import", "a,b.c", "--import", "d"],
        ["--import", "a, b.c,d,"],
    ],
)
def test_a_flag_of_a_list_may_be_repeated(serve, arguments):
    assert serve(*arguments)[0].import_modules == ("a", "b.c", "d")


def test_each_list_keeps_its_own_separator(serve):
    settings, _ = serve("--custom-op-library", "/a,1.so", "--custom-op-library", "/b.so:/c.so", "--cors-origins", "*")
    assert settings.custom_op_libraries == (Path("/a,1.so"), Path("/b.so"), Path("/c.so"))
    assert settings.cors_origins == ("*",)


def test_a_repeated_flag_beats_the_environment_as_a_whole(serve, monkeypatch):
    monkeypatch.setenv("TENSORHOST_IMPORT_MODULES", "x,y")
    assert serve()[0].import_modules == ("x", "y")
    assert serve("--import", "a")[0].import_modules == ("a",)


def test_without_flags_everything_is_the_default(serve, tmp_path):
    settings, _ = serve()
    defaults = {field: info.default for field, info in setting_fields().items()} | {"model_path": tmp_path}
    assert settings.model_dump() == defaults


def test_help_shows_every_flag_default_and_variable(monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    shown = CliRunner().invoke(app, ["serve", "--help"], terminal_width=400).output
    for setting in WITH_FLAG:
        assert f"{setting.flag} " in shown
        assert setting.description in shown
        assert f"(env {setting.environment}{', default ' + setting.default if setting.default else ''})" in shown
    assert "--admin-token" not in shown
    assert "Exit codes" in shown


def test_defaults_are_shown_as_a_user_writes_them():
    shown = {setting.field: setting.default for setting in setting_flags()}
    assert shown["max_body_bytes"] == "32MiB"
    assert shown["max_header_bytes"] == "32KiB"
    assert shown["model_path"] == "./models"
    assert shown["access_log"] == "false"
    assert shown["poll_interval_s"] == "2"
    assert shown["memory_budget"] == ""


def test_flags_beat_environment_beats_file(serve, monkeypatch, tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text("port = 1\nmax_batch_size = 2\nload_threads = 3\n")
    monkeypatch.setenv("PORT", "4")
    monkeypatch.setenv("MAX_BATCH_SIZE", "5")
    settings, _ = serve("--config", str(file), "--port", "6")
    assert (settings.port, settings.max_batch_size, settings.load_threads) == (6, 5, 3)


def test_a_switch_can_turn_the_environment_off(serve, monkeypatch):
    monkeypatch.setenv("TENSORHOST_ACCESS_LOG", "true")
    assert serve()[0].access_log is True
    assert serve("--no-access-log")[0].access_log is False


def test_the_model_path_may_come_from_the_environment(serve, monkeypatch, tmp_path):
    monkeypatch.setenv("MODEL_PATH", str(tmp_path))
    assert serve(path=None)[0].model_path == tmp_path


@pytest.mark.parametrize(
    ("args", "names"),
    [
        (["--port", "70000"], "port"),
        (["--port", "many"], "--port"),
        (["--log-level", "loud"], "--log-level"),
        (["--memory-budget", "much"], "memory_budget"),
        (["--tls-certfile", "c"], "tls_keyfile"),
        (["--config", "absent.toml"], "absent.toml"),
        (["--admin-token", "x"], "--admin-token"),
        (["--no-such-flag"], "--no-such-flag"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_names_the_setting(serve, args, names):
    settings, result = serve(*args)
    assert settings is None
    assert result.exit_code == 2
    assert names in result.stderr
    assert "Traceback" not in result.output
