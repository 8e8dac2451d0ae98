"""nginx with the files of deploy/nginx, as a process: addresses and folders are a test's, all else is as shipped."""

from __future__ import annotations

import os
import select
import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Self

SHIPPED = Path(__file__).resolve().parents[3] / "deploy" / "nginx"
_TIMEOUT_S = 30

# Debian's nginx says where logs, process id and bodies go; here, all of it goes to a folder of the test.
_MAIN = """
user root;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/bodies;
    proxy_temp_path {folder}/answers;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/conf.d/*.conf;
}}
"""


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [held.getsockname()[1] for held in sockets]
    for held in sockets:
        held.close()
    return ports


def _replace(folder: Path, shipped: str, here: str) -> None:
    """Put ``here`` where the files in ``folder`` say ``shipped``."""
    files = [path for path in folder.glob("*/*.conf") if shipped in path.read_text()]
    assert files, f"no shipped file has {shipped!r}"
    for path in files:
        path.write_text(path.read_text().replace(shipped, here))


class Nginx:
    """A running nginx. Use as a context manager.

    Args:
        folder: empty; gets the configuration, the log and what nginx writes.
        changes: text of the shipped files, and what stands in its place.
        more: files of the http block that are only the test's, by name.
    """

    def __init__(self, folder: Path, changes: Mapping[str, str], more: Mapping[str, str] | None = None) -> None:
        self._folder = folder
        shutil.copytree(SHIPPED / "snippets", folder / "snippets")
        (folder / "conf.d").mkdir()
        shutil.copy(SHIPPED / "tensorhost.conf", folder / "conf.d")
        for shipped, here in changes.items():
            _replace(folder, shipped, here)
        for name, content in (more or {}).items():
            (folder / "conf.d" / name).write_text(content)
        (folder / "nginx.conf").write_text(_MAIN.format(folder=folder))
        self._command = ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]

    def __enter__(self) -> Self:
        # It goes into the background when it listens.
        ended = subprocess.run(self._command, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S)
        assert ended.returncode == 0, ended.stderr
        return self

    def __exit__(self, *exception: object) -> None:
        process = os.pidfd_open(int((self._folder / "nginx.pid").read_text()))
        subprocess.run([*self._command, "-s", "stop"], check=True, timeout=_TIMEOUT_S)
        over, _, _ = select.select([process], [], [], _TIMEOUT_S)
        os.close(process)
        assert over, "nginx did not stop"

    @property
    def log(self) -> str:
        return (self._folder / "error.log").read_text()
