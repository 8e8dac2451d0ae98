"""The Dockerfile and what it says about the server, without building it."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import PurePosixPath

import pytest
from dockerfile import ROOT, exec_form, is_ignored, stages

from tensorhost.core.version import __version__
from tensorhost.settings import Settings, environment_variable, setting_fields

FINAL = stages()[-1]
SETUP = FINAL.all("RUN")[0]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
BUILD = (ROOT / "deploy" / "image" / "build").read_text("utf-8")
SETTINGS = {environment_variable(name): name for name in setting_fields()}
OF_OTHERS = {"PATH", "PYTHONDONTWRITEBYTECODE"}


def test_what_the_image_sets_are_settings_with_valid_values():
    ours = {name: value for name, value in FINAL.environment.items() if name not in OF_OTHERS}
    assert set(ours) == {"HOST", "MODEL_PATH", "TENSORHOST_CACHE_DIR"}
    settings = Settings(**{SETTINGS[name]: value for name, value in ours.items()})
    assert not settings.bound_to_loopback


def test_the_ports_are_the_default_ones_and_that_of_tensorflow_servings_image():
    defaults = [str(setting_fields()[name].default) for name in ("port", "grpc_port")]
    assert FINAL.last("EXPOSE").split() == [*defaults, "8501"]


def test_the_user_is_a_number_that_is_not_root():
    # Kubernetes refuses to run an image as "not root" by a name it cannot look up.
    assert FINAL.last("USER") == "10001:10001"
    assert "--uid 10001 --gid 10001" in SETUP
    assert FINAL.instructions.index(("USER", "10001:10001")) > FINAL.instructions.index(("RUN", FINAL.last("RUN")))


def test_no_shell_stands_between_signals_and_the_server():
    # The entry point replaces itself with the command.
    assert exec_form(FINAL.last("ENTRYPOINT")) == ["tini", "--", "entrypoint"]
    assert not FINAL.all("CMD")
    assert exec_form(FINAL.last("HEALTHCHECK").partition("CMD ")[2])[0] == "python3"


def test_the_folders_of_models_and_cache_are_made_and_the_cache_is_ours_below_one():
    # Whoever mounts a volume there, its root is someone else's or open to others: what is kept lies in a folder in it.
    cache = PurePosixPath(FINAL.environment["TENSORHOST_CACHE_DIR"])
    made = re.findall(r"install --directory.*? (/\w+)(?= |$)", SETUP)
    assert made == [FINAL.environment["MODEL_PATH"], str(cache.parent)]
    assert "--mode=0770 --owner=10001" in SETUP


def test_every_stage_is_built_on_the_one_base():
    base = dict(argument.split("=") for argument in stages()[0].all("ARG"))["BASE"]
    assert re.fullmatch(r"python:3\.1[1-3]-slim-\w+", base)
    names = [stage.name for stage in stages()]
    for stage in stages()[1:]:
        parent = stage.last("FROM").split()[0]
        assert parent == "${BASE}" or parent in names


def test_what_is_copied_exists_and_is_let_in():
    copied = [
        source
        for stage in stages()
        for argument in stage.all("COPY")
        if not argument.startswith("--from")
        for source in argument.split()[:-1]
    ]
    assert "src" in copied
    for source in copied:
        assert (ROOT / source).exists(), source
        assert not is_ignored(source), source
    assert not any(stage.all("ADD") for stage in stages())


@pytest.mark.parametrize(
    "path",
    [
        ".git/config",
        ".env",
        ".venv/bin/python",
        "tests/conftest.py",
        "docs/index.md",
        "benchmarks/results/threads.json",
        "deploy/compose/.env",
        "deploy/image/build",
        "src/tensorhost/__pycache__/settings.cpython-313.pyc",
        "src/tensorhost/settings.pyc",
        "src/tensorhost.egg-info/PKG-INFO",
    ],
)
def test_what_a_build_has_no_use_for_stays_out(path):
    assert is_ignored(path)


@pytest.mark.parametrize(
    "path", ["src/tensorhost/settings.py", "src/tensorhost/demo/models/wine/1/model.keras", "src/tensorhost/py.typed"]
)
def test_all_of_the_package_goes_in(path):
    assert (ROOT / path).exists()
    assert not is_ignored(path)


def test_the_variants_are_extras_of_the_project():
    variants = re.findall(r"extras=(\S+)", BUILD)
    assert variants[0] == dict(argument.split("=") for argument in FINAL.all("ARG")[1:])["EXTRAS"] == "all"
    for extras in variants:
        assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])
    requirements = [
        requirement for extra in variants[1].split(",") for requirement in PROJECT["optional-dependencies"][extra]
    ]
    assert not any("tensorflow" in requirement for requirement in requirements)


def test_the_build_script_finds_the_version():
    command = re.search(r"^version=\"\$\((sed .*)\)\"$", BUILD, re.MULTILINE)
    assert command is not None
    found = subprocess.run(["bash", "-c", command[1]], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == __version__


def test_an_unknown_variant_is_refused_before_anything_is_built(tmp_path):
    (tmp_path / "podman").write_text("#!/bin/sh\necho built\n")
    (tmp_path / "podman").chmod(0o755)
    ended = subprocess.run(
        [ROOT / "deploy" / "image" / "build", "large"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "BUILDER": "podman"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "no variant 'large'" in ended.stderr


def test_a_builder_is_told_everything(tmp_path):
    """A builder that only prints what it is asked for."""
    (tmp_path / "podman").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / "podman").chmod(0o755)
    ended = subprocess.run(
        [ROOT / "deploy" / "image" / "build", "full", "slim"],
        env={
            "PATH": f"{tmp_path}:/usr/bin:/bin",
            "BUILDER": "podman",
            "BASE": "debian:mine",
            "CA_CERT": "/my/ca.pem",
            "BUILD_FLAGS": "--isolation chroot",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    full, slim = ended.stdout.split("build\n")[1:]
    for asked in (full.splitlines(), slim.splitlines()):
        assert asked[-1] == "."
        assert {"docker", "--isolation", "chroot", "BASE=debian:mine", f"VERSION={__version__}"} <= set(asked)
        assert "id=ca.crt,src=/my/ca.pem" in asked
        assert any(word.startswith("id=pip.conf,src=") for word in asked)
    assert {"EXTRAS=all", f"--tag=tensorhost:{__version__}", "--tag=tensorhost:latest"} <= set(full.splitlines())
    assert {f"--tag=tensorhost:{__version__}-slim", "--tag=tensorhost:slim"} <= set(slim.splitlines())
