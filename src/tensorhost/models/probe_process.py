"""A child process that tries models, seen from the server: bytes in, messages out, its memory, its end.

It decides nothing: limits and verdicts are ``probe.py``'s. POSIX only. What must stay true: no call but ``end``
blocks longer than asked, whatever the child does or does not read and write; and ``end`` leaves no process behind.
"""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import psutil

from tensorhost.core.errors import InternalError
from tensorhost.models.probe_messages import MAX_LINE_BYTES
from tensorhost.settings import environment_variable

SUPPORTED = os.name == "posix" and bool(sys.executable)
"""Whether this system and this interpreter can run such processes."""

_NOISE_BYTES = 6_000
"""Shown of the beginning and of the end of what a child writes: a failed check comes first, where it was comes last."""

_KEPT_BYTES = 16_000
"""Kept of each: what is left out of what is shown comes last."""

_MODULES = re.compile(rb"\n*Extension modules: [^\n]*")
"""Several kilobytes of names that Python adds to each report of a crash."""

_CHUNK_BYTES = 2**16


class Resident(NamedTuple):
    """Bytes of memory of a process: now, and the most since it last asked the system to forget the most."""

    now: int
    peak: int


class WorkerProcess:
    """One child process. Constructing starts it. Raises OSError when that cannot be done.

    Args:
        command: the program and its arguments.
    """

    def __init__(self, command: Sequence[str]) -> None:
        # What a model that crashes leaves in the folder for temporary files goes with the process.
        self._scratch = tempfile.TemporaryDirectory(prefix="tensorhost-probe-", ignore_cleanup_errors=True)
        try:
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter and a module of ours
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env=_environment(self._scratch.name),
                # Ctrl-C in the terminal is for the server; and what the child starts can be killed with it.
                start_new_session=True,
            )
        except OSError:
            self._scratch.cleanup()
            raise
        self._unsent = b""
        self._unread = bytearray()
        self._lines: deque[bytes] = deque()
        self._noise = bytearray()
        self._closed = False
        self._ended = self._awaited = False
        self._ending = threading.Lock()
        self.first_baseline_bytes: int | None = None
        """Its memory when it was ready for its first model."""
        self._selector = selectors.DefaultSelector()
        self._listen(self._process.stdout, self._read_messages)
        self._listen(self._process.stderr, self._read_noise)

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    @property
    def gone(self) -> bool:
        """Whether no message will come any more; it may still be running."""
        return self._closed and not self._lines

    @property
    def noise(self) -> str:
        """What it wrote to standard error and standard output since ``send``; of much, the beginning and the end."""
        noise = _MODULES.sub(b"", bytes(self._noise))
        if len(noise) > 2 * _NOISE_BYTES:
            noise = noise[:_NOISE_BYTES] + b"\n(...)\n" + noise[-_NOISE_BYTES:]
        return noise.decode("utf-8", "replace").strip()

    def send(self, line: bytes) -> None:
        """Have ``line`` written while ``receive`` is called."""
        self._noise.clear()
        self._unsent = line
        self._listen(self._process.stdin, self._write, selectors.EVENT_WRITE)

    def receive(self, timeout_s: float) -> bytes | None:
        """The next message, or None when there is none within ``timeout_s`` or for ever (``gone``).

        Raises InternalError for a message without end.
        """
        if not self._lines:
            for key, _ in self._selector.select(timeout_s):
                key.data()
        return self._lines.popleft() if self._lines else None

    def resident(self) -> Resident | None:
        """Its memory; None when it runs no more."""
        if sys.platform != "linux":
            return self._sampled()
        try:
            text = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii", errors="replace")
        except OSError:
            return None
        kibibytes = {
            name: value.split()[0]
            for name, _, value in (line.partition(":") for line in text.splitlines())
            if name in ("VmRSS", "VmHWM")
        }
        if len(kibibytes) != 2:  # it has ended and waits for its exit code to be read
            return None
        return Resident(int(kibibytes["VmRSS"]) * 1024, int(kibibytes["VmHWM"]) * 1024)

    def kill(self) -> None:
        """Kill it and all it started. May be called from any thread, whoever else uses it, and does not block."""
        # Not after its end was taken note of: the process id may be another's by then.
        with self._ending:
            if not self._awaited:
                # An end that has begun keeps its own exit code.
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.pid, signal.SIGKILL)

    def end(self) -> int:
        """Kill it and free what it held; the exit code it had or now has, negative for a signal."""
        self.kill()
        with self._ending:
            self._awaited = True
        exit_code = self._process.wait()
        if not self._ended:
            self._ended = True
            self._read_noise()
            self._selector.close()
            for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
                if pipe is not None:
                    pipe.close()
            self._scratch.cleanup()
        return exit_code

    def _listen(self, pipe: IO[bytes] | None, handler: Callable[[], None], events: int = selectors.EVENT_READ) -> None:
        assert pipe is not None
        os.set_blocking(pipe.fileno(), False)
        self._selector.register(pipe, events, handler)

    def _write(self) -> None:
        assert self._process.stdin is not None
        try:
            self._unsent = self._unsent[os.write(self._process.stdin.fileno(), self._unsent) :]
        except BlockingIOError:
            return
        except OSError:  # it has ended; reading tells
            self._unsent = b""
        if not self._unsent:
            self._selector.unregister(self._process.stdin)

    def _read_messages(self) -> None:
        data = self._read(self._process.stdout)
        self._closed = self._closed or data == b""
        *whole, rest = (self._unread + (data or b"")).split(b"\n")
        self._lines.extend(map(bytes, whole))
        self._unread = rest
        if len(rest) > MAX_LINE_BYTES or any(len(line) > MAX_LINE_BYTES for line in whole):
            raise InternalError("a message without end")

    def _read_noise(self) -> None:
        self._noise += self._read(self._process.stderr) or b""
        del self._noise[_KEPT_BYTES:-_KEPT_BYTES]

    def _read(self, pipe: IO[bytes] | None) -> bytes | None:
        """What there is to read; empty at the end, None when there is nothing yet."""
        assert pipe is not None
        try:
            data = os.read(pipe.fileno(), _CHUNK_BYTES)
        except BlockingIOError:
            return None
        if not data and pipe in self._selector.get_map():
            self._selector.unregister(pipe)
        return data

    def _sampled(self) -> Resident | None:
        try:
            now = psutil.Process(self.pid).memory_info().rss
        except psutil.Error:
            return None
        return Resident(now, now)


def _environment(scratch: str) -> dict[str, str]:
    """This process's, but for a token that is no business of models."""
    inherited = {name: value for name, value in os.environ.items() if name != environment_variable("admin_token")}
    return inherited | {"TMPDIR": scratch, "PYTHONPATH": search_path()}


def search_path() -> str:
    """Where the child looks for modules: where this process does, in the same order."""
    return os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
