import subprocess

import pytest
from benchmarks.peers import environment


@pytest.fixture
def installs(monkeypatch):
    """The commands that were run instead of an installation; ``installs.failure`` is what the last says on failing."""
    monkeypatch.setattr(environment, "version", lambda _: "2.21.0")

    class Runs(list):
        failure = ""

        def run(self, command, **_):
            self.append([str(part) for part in command])
            return subprocess.CompletedProcess(command, int(bool(self.failure)), "", self.failure)

    runs = Runs()
    monkeypatch.setattr(environment.subprocess, "run", runs.run)
    return runs


@pytest.fixture
def root(tmp_path):
    (tmp_path / "mosec").mkdir()
    return tmp_path


def test_an_environment_is_made_once(installs, root):
    python = environment.ensure("mosec", root)
    assert python == root / "mosec" / "bin" / "python"
    assert installs[-1][-2:] == ["mosec", "tensorflow-cpu==2.21.0"]
    made = len(installs)
    assert environment.ensure("mosec", root) == python
    assert len(installs) == made


def test_an_environment_of_other_requirements_is_made_anew(installs, root, monkeypatch):
    environment.ensure("mosec", root)
    made = len(installs)
    monkeypatch.setattr(environment, "version", lambda _: "2.22.0")
    environment.ensure("mosec", root)
    assert installs[-1][-1] == "tensorflow-cpu==2.22.0"
    assert len(installs) == 2 * made


def test_what_cannot_be_installed_is_tried_again(installs, root, capsys):
    installs.failure = "looking\nERROR: no such wheel\n"
    for _ in range(2):
        with pytest.raises(environment.PeerMissingError, match="ERROR: no such wheel"):
            environment.ensure("mosec", root)
    assert "no such wheel" in capsys.readouterr().err
