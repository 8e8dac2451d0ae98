"""A tensorhost server as a process, and what the system knows of it: memory, processor time, descriptors, threads.

For benchmarks of one server on its own; ``servers.py`` is for comparisons.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import psutil

from benchmarks import machine
from benchmarks.servers import free_port
from tensorhost.bench import Generators, HttpTarget, Load
from tensorhost.bench.bodies import http_target
from tensorhost.bench.tally import Tally

_START_TIMEOUT_S = 300
_STOP_TIMEOUT_S = 60
_ANSWER_TIMEOUT_S = 300


class ServerProcess:
    """``tensorhost serve`` on ``repository``; entering waits until it is ready, leaving ends it.

    ``ready_s`` and ``ready_cpu_s`` are the clock's and the processor's seconds from the start to ready.
    """

    def __init__(self, repository: Path, *flags: object) -> None:
        program = str(Path(sys.executable).parent / "tensorhost")
        self._port = free_port()
        self._command = [program, "serve", str(repository), "--port", str(self._port), "--log-level", "error"]
        self._command += ["--grpc-port", "0"]
        self._command += [str(flag) for flag in flags]
        self.url = f"http://127.0.0.1:{self._port}"
        self._client = httpx.Client(base_url=self.url, timeout=_ANSWER_TIMEOUT_S)
        self.ready_s = self.ready_cpu_s = 0.0

    def __enter__(self) -> Self:
        started = time.perf_counter()
        quiet = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
        self._process = subprocess.Popen(self._command, env=quiet, stdout=subprocess.DEVNULL)
        self._seen = psutil.Process(self._process.pid)
        while not self._is_ready():
            if time.perf_counter() - started > _START_TIMEOUT_S or self._process.poll() is not None:
                raise TimeoutError("the server did not become ready")
            time.sleep(0.02)
        self.ready_s = time.perf_counter() - started
        self.ready_cpu_s = self.cpu_s()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._client.close()
        self._process.terminate()
        try:
            self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _is_ready(self) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return self._client.get("/health/ready").status_code == httpx.codes.OK
        return False

    def cpu_s(self) -> float:
        """Processor time of the server's own process so far."""
        times = self._seen.cpu_times()
        return times.user + times.system

    def rss_bytes(self) -> int:
        """Resident memory now."""
        rss: int = self._seen.memory_info().rss
        return rss

    def forget_peak(self) -> None:
        """Let the peak of resident memory begin anew (Linux)."""
        Path(f"/proc/{self._process.pid}/clear_refs").write_text("5")

    def peak_bytes(self) -> int:
        """The most resident memory since ``forget_peak`` (Linux)."""
        status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii")
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024

    def handles(self) -> tuple[int, int]:
        """Open file descriptors, and threads."""
        return self._seen.num_fds(), self._seen.num_threads()

    def predict(self, body: bytes) -> float:
        """Post ``body`` to /predict, which must succeed; the seconds it took."""
        started = time.perf_counter()
        answer = self._client.post("/predict", content=body, headers={"Content-Type": "application/json"})
        took_s = time.perf_counter() - started
        answer.raise_for_status()
        return took_s

    def load(self, body: bytes, load: Load) -> dict[str, Any]:
        """Put ``load`` on the server: rate, latencies, its processor time per request, and cores others kept busy."""
        target: HttpTarget = http_target(self.url, len(body))
        marks: list[float] = []
        before, started = machine.CpuSeconds.now(self._process.pid), time.perf_counter()
        with Generators(target, (load,), body) as generators:
            generators.ready()
            tally: Tally = generators.run(lambda _kind, _parts: None, lambda: marks.append(self.cpu_s()))
            cpu_s = self.cpu_s() - marks[0]
        busy = machine.CpuSeconds.now(self._process.pid).cores_since(before, time.perf_counter() - started)
        if tally.failed or not tally.answered:
            raise RuntimeError(f"requests failed: {dict(tally.errors)}")
        return {
            "requests_s": round(tally.requests_per_s, 1),
            "p50_ms": round(tally.latencies.quantile(0.5) * 1e3, 3),
            "p99_ms": round(tally.latencies.quantile(0.99) * 1e3, 3),
            "server_cpu_us": round(cpu_s / tally.answered * 1e6, 1),
            "other_cores": busy["other_cores"],
        }
