"""The images as an operator runs them: another user, a read-only file system, limits, a stop, an end.

They must have been built (``make image``). Every container here is confined as docs/container.md says it may be.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from containers import Container, call, configuration, confined, free_port, health_check

import tensorhost

MODELS = f"--volume={Path(tensorhost.__file__).parent / 'demo' / 'models'}:/models:ro"
IMAGES = {"full": "tensorhost:latest", "slim": "tensorhost:slim"}
DIGITS = {"modelName": "digits", "inputs": [[[[0.0]] * 8] * 8]}
SERVED = {"full": {"digits", "langid", "wine"}, "slim": {"digits"}}
PROCESSES = """
import pathlib
for folder in pathlib.Path("/proc").iterdir():
    if folder.name.isdecimal() and int(folder.name) != __import__("os").getpid():
        print(folder.name, (folder / "cmdline").read_bytes().replace(b"\\0", b" ").decode())
"""


@pytest.fixture(scope="module", params=IMAGES)
def variant(request):
    return request.param


@pytest.fixture(scope="module")
def image(variant):
    return IMAGES[variant]


@pytest.fixture(scope="module")
def server(image, tmp_path_factory):
    """A confined server of the demo models, ready, whose cache is a folder of root's that is open to all: what
    Kubernetes mounts."""
    cache = tmp_path_factory.mktemp("cache")
    cache.chmod(0o777)
    with Container(image, *confined(), "--tmpfs=/tmp", f"--volume={cache}:/cache", MODELS) as container:
        container.wait_until_ready()
        yield container
        container.signal("TERM")
        assert container.wait() == 0, container.log


def test_it_serves(server, variant):
    status, answer = server.ask("POST", "/predict", DIGITS)
    assert status == 200, answer
    assert len(answer["predictions"][0]) == 3
    _, models = server.ask("GET", "/models")
    assert {model["name"] for model in models["models"]} == SERVED[variant]


def test_its_health_check_passes(server, image):
    form, *command = health_check(image)
    assert form == "CMD"
    ended = server.run(*command)
    assert (ended.returncode, ended.stdout) == (0, "")


def test_it_takes_the_place_of_tensorflow_servings_image(image):
    port = free_port()
    flags = ("--port=0", f"--rest_api_port={port}")
    with Container(image, *confined(), "--tmpfs=/tmp", MODELS, command=flags, MODEL_NAME="digits") as container:
        container.port = port
        container.wait_until_ready()
        status, answer = container.ask("POST", "/v1/models/digits:predict", {"instances": DIGITS["inputs"]})
        assert (status, len(answer["predictions"][0])) == (200, 10), answer
        _, *check = health_check(image)
        ended = container.run(*check)
        assert (ended.returncode, ended.stdout) == (0, "")
        assert container.run("/usr/bin/tensorflow_model_server", "--version").stdout.startswith(
            "TensorFlow ModelServer:"
        )
        container.signal("TERM")
        assert container.wait() == 0, container.log


def test_it_is_nobody_special(server):
    assert server.python("import os; print(os.getuid(), os.getgid())") == "10001 10001"
    status = dict(line.split(":\t") for line in server.python("print(open('/proc/1/status').read())").splitlines())
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert status["NoNewPrivs"] == "1"


def test_nothing_of_it_can_be_written(server):
    find = "find / -xdev -writable -not -type l -not -path /tmp -not -path /cache 2>/dev/null"
    assert server.run("sh", "-c", find).stdout == ""


def test_it_keeps_what_it_found_out_where_that_is_possible(server):
    assert server.run("sh", "-c", "ls -A /cache/tensorhost").stdout.strip()
    assert "not kept" not in server.log


def test_init_is_the_first_process_and_reaps_what_nobody_waits_for(server):
    processes = server.python(PROCESSES).replace("/opt/tensorhost/bin/", "").splitlines()
    assert processes[0].strip() == "1 tini -- entrypoint"
    assert processes[1].strip().endswith(" tensorhost serve")
    orphan = """
import os, time
from_orphan, to_parent = os.pipe()
if os.fork() == 0:
    if os.fork() == 0:
        os.write(to_parent, str(os.getpid()).encode())
        os._exit(0)
    os._exit(0)
os.wait()
pid = int(os.read(from_orphan, 20))
give_up_at = time.monotonic() + 20
while os.path.exists(f"/proc/{pid}") and time.monotonic() < give_up_at:
    pass
print(os.path.exists(f"/proc/{pid}"))
"""
    assert server.python(orphan) == "False"


def test_bytecode_is_there(server):
    """Otherwise each start would compile a few thousand modules, and each again in the process that tries models."""
    program = """
import importlib, pathlib, sys
import tensorhost.server
files = [getattr(module, "__file__", None) or "" for module in sys.modules.values()]
sources = [pathlib.Path(file) for file in files if file.endswith(".py")]
print([str(s) for s in sources if not pathlib.Path(importlib.util.cache_from_source(s)).exists()])
"""
    assert server.python(program) == "[]"


def test_nothing_of_the_build_is_left(image, server):
    for path in ("/build", "/package", "/etc/pip.conf", "/run/secrets/pip.conf", "/run/secrets/ca.crt"):
        assert server.run("ls", path).returncode != 0, path
    assert "pip" not in server.run("ls", "/opt/tensorhost/bin").stdout
    history = call("history", "--no-trunc", "--format=json", image)
    assert "index-url" not in history
    assert "BEGIN CERTIFICATE" not in history


def test_the_labels_say_what_it_is(image, variant):
    labels = configuration(image)["Labels"]
    assert labels["org.opencontainers.image.version"] == tensorhost.__version__
    assert labels["tensorhost.extras"] == {"full": "all", "slim": "openvino,litert,text"}[variant]


def test_only_one_has_tensorflow(server, variant):
    found = server.python("import importlib.util; print(importlib.util.find_spec('tensorflow') is not None)")
    assert found == str(variant == "full")


def test_a_signal_drains(image):
    with Container(image, *confined(), "--tmpfs=/tmp", MODELS, TENSORHOST_DRAIN_WINDOW_S="5") as container:
        container.wait_until_ready()
        container.signal("TERM")
        container.wait_for('"event":"stopping"')
        assert container.ask("GET", "/health/ready") == (503, {"status": "draining"})
        assert container.ask("POST", "/predict", DIGITS)[0] == 200
        assert container.wait() == 0, container.log


def test_workers_drain_too():
    with Container(IMAGES["slim"], *confined(), "--tmpfs=/tmp", MODELS, TENSORHOST_WORKERS="2") as container:
        container.wait_until_ready()
        assert container.ask("POST", "/predict", DIGITS)[0] == 200
        container.signal("TERM")
        assert container.wait() == 0, container.log


def test_a_signal_ends_what_has_not_got_as_far_as_handling_it():
    program = "print('up', flush=True); import time; time.sleep(600)"
    with Container(IMAGES["slim"], "--entrypoint=tini", command=("--", "python3", "-c", program)) as container:
        container.wait_for("up")
        container.signal("TERM")
        assert container.wait() == 128 + 15


@pytest.mark.parametrize("user", ["10001:10001", "12345:0", "12345:54321"])
def test_without_a_place_to_keep_things_it_serves_all_the_same(user):
    with Container(IMAGES["slim"], *confined(), "--tmpfs=/tmp", f"--user={user}", MODELS) as container:
        container.wait_until_ready()
        assert container.ask("POST", "/predict", DIGITS)[0] == 200
        assert "trials of models are not kept" in container.log


@pytest.mark.parametrize("user", ["10001:10001", "12345:0"])
@pytest.mark.parametrize("volume", [(), ("--volume=/cache",)])
def test_a_platform_may_choose_the_user_and_the_volume(user, volume):
    with Container(IMAGES["slim"], "--cap-drop=all", *volume, f"--user={user}", MODELS) as container:
        container.wait_until_ready()
        assert "not kept" not in container.log


def test_without_room_for_temporary_files_it_says_so_and_stays():
    with Container(IMAGES["slim"], *confined(), MODELS) as container:
        container.wait_until_ready()
        assert "No usable temporary directory" in container.log
        assert container.ask("GET", "/models/digits/versions/2")[1]["error"]["code"] == "MODEL_FAILED"


def test_limits_count():
    limits = ("--cpus=1", "--memory=2g")
    with Container(
        IMAGES["slim"], *confined(), "--tmpfs=/tmp", *limits, MODELS, TENSORHOST_WORKERS="auto"
    ) as container:
        container.wait_until_ready()
        program = """
from tensorhost.runtimes.cores import usable_cores
from tensorhost.telemetry import available_memory_bytes
print(usable_cores(), available_memory_bytes() < 2**31)
"""
        assert container.python(program) == "1 True"


def test_a_folder_without_models_is_served_and_a_wrong_setting_is_not():
    with Container(IMAGES["slim"], *confined(), "--tmpfs=/tmp") as container:
        container.wait_until_ready()
        assert container.ask("GET", "/health/ready")[0] == 200
    with Container(IMAGES["slim"], TENSORHOST_LOG_FORMAT="none") as container:
        assert container.wait() == 2
        assert "log_format" in container.log


def test_other_commands_run():
    command = ("inspect", "/models/digits/1", "--json")
    with Container(IMAGES["slim"], *confined(), "--tmpfs=/tmp", MODELS, command=command) as container:
        assert container.wait() == 0, container.log
        assert json.loads(container.log)
