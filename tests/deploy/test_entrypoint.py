"""What the image's entry point makes of the words behind the image's name: a command of tensorhost's, or a server."""

from __future__ import annotations

import subprocess

import pytest
from dockerfile import ROOT, stages

SCRIPT = ROOT / "deploy" / "image" / "entrypoint"
IMAGE = {"HOST": "0.0.0.0", "MODEL_PATH": "/models"}
PORTS = ["--port=8500", "--rest_api_port=8501"]


@pytest.fixture
def started(tmp_path):
    """Runs the entry point with programs in the place of tensorhost's that print what they are called with."""
    for name in ("tensorhost", "tensorflow_model_server"):
        (tmp_path / name).write_text('#!/bin/sh\nprintf "%s\\n" "$(basename "$0")" "$@"\n')
        (tmp_path / name).chmod(0o755)

    def start(*words: str, **environment: str) -> list[str]:
        ended = subprocess.run(
            [SCRIPT, *words],
            env={"PATH": f"{tmp_path}:/usr/bin:/bin", **IMAGE, **environment},
            capture_output=True,
            text=True,
            check=True,
        )
        assert ended.stderr == ""
        return ended.stdout.splitlines()

    return start


@pytest.mark.parametrize(
    "words",
    [
        ["serve"],
        ["serve", "--grpc-port=0"],
        ["demo"],
        ["inspect", "/models/a b"],
        ["model-server", "--port=1"],
        ["--help"],
        ["-h"],
        ["--show-completion"],
    ],
)
def test_commands_of_tensorhost(started, words):
    assert started(*words) == ["tensorhost", *words]
    assert started(*words, MODEL_NAME="m") == ["tensorhost", *words]


def test_nothing_at_all_serves(started):
    assert started() == ["tensorhost", "serve"]
    assert started(MODEL_NAME="", MODEL_BASE_PATH="") == ["tensorhost", "serve"]


@pytest.mark.parametrize(
    ("environment", "name", "path"),
    [
        ({"MODEL_NAME": "half plus two"}, "half plus two", "/models/half plus two"),
        ({"MODEL_BASE_PATH": "/srv"}, "model", "/srv/model"),
        ({"MODEL_NAME": "m", "MODEL_BASE_PATH": "/srv"}, "m", "/srv/m"),
    ],
)
def test_a_model_in_the_environment_is_served_as_by_tensorflow_servings_image(started, environment, name, path):
    model = [f"--model_name={name}", f"--model_base_path={path}"]
    assert started(**environment) == ["tensorflow_model_server", *PORTS, *model]
    assert started("--enable_batching", **environment) == [
        "tensorflow_model_server",
        *PORTS,
        *model,
        "--enable_batching",
    ]


@pytest.mark.parametrize(
    "words",
    [
        ["--model_config_file=/models/models.config"],
        ["--port=9000", "--rest_api_port=9001"],
        ["--enable_batching", "--batching_parameters_file=/a b"],
        ["--version"],
    ],
)
def test_flags_of_tensorflow_serving_come_behind_the_images_own(started, words):
    model = ["--model_name=model", "--model_base_path=/models/model"]
    assert started(*words) == ["tensorflow_model_server", *PORTS, *model, *words]


def test_it_is_where_manifests_for_tensorflow_serving_look():
    links = stages()[-1].last("RUN")
    assert "/opt/tensorhost/bin/tensorflow_model_server /usr/bin/" in links
    assert "/opt/tensorhost/bin/entrypoint /usr/bin/tf_serving_entrypoint.sh" in links
    copied = next(argument for argument in stages()[-1].all("COPY") if "entrypoint" in argument)
    assert copied == "deploy/image/entrypoint /opt/tensorhost/bin/"
