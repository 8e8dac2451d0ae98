"""``grpc_load`` as a process, seen from whoever measures a server: started, told to begin, its figures taken."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.load import LoadFailedError

CONNECTIONS = 4
"""HTTP/2 connections that the calls in flight are spread over, where there are so many calls."""

_GRACE_S = 60
_UNREPORTED = ("calls", "failed", "answers")


class GrpcGenerator:
    """Calls of one method under way all the time; entering waits until the generator is connected.

    Args:
        port: where the server listens on the loopback interface.
        path: the method's.
        request: a file with the message that every call sends.
        in_flight: calls that are under way at once.
        seconds: for how long new ones begin.
    """

    def __init__(self, port: int, path: str, request: Path, in_flight: int, seconds: float) -> None:
        self._what = f"127.0.0.1:{port}{path}"
        self._timeout_s = seconds + _GRACE_S
        where = ("127.0.0.1", str(port), path, str(request))
        how = (str(min(CONNECTIONS, in_flight)), str(in_flight), str(seconds))
        self._command = [sys.executable, "-m", "benchmarks.grpc_load", *where, *how]

    def __enter__(self) -> Self:
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self._process: subprocess.Popen[str] = subprocess.Popen(self._command, text=True, **pipes)
        assert self._process.stdout is not None
        self._process.stdout.readline()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._process:
            self._process.kill()

    def run(self, is_right: Callable[[bytes], bool]) -> dict[str, float]:
        """Its figures (see ``grpc_load.run``), with the generator's own use of the processor while it ran.

        Raises:
            LoadFailedError: a call failed, an answer is one that ``is_right`` denies, or the server gave up.
        """
        try:
            said, complaint = self._process.communicate("go\n", self._timeout_s)
        except subprocess.TimeoutExpired as error:
            raise LoadFailedError(f"{self._what} leaves calls unanswered.") from error
        if self._process.returncode != 0:
            raise LoadFailedError(complaint.strip().splitlines()[-1] if complaint.strip() else "The generator failed.")
        counted: dict[str, Any] = json.loads(said)
        if counted["failed"]:
            raise LoadFailedError(f"{counted['failed']} of {counted['calls']} calls failed at {self._what}.")
        if not all(is_right(base64.b64decode(answer)) for answer in counted["answers"]):
            raise LoadFailedError(f"Under load an answer of {self._what} is not the right one.")
        return {name: value for name, value in counted.items() if name not in _UNREPORTED}
