"""Load over kept-alive connections, one fixed body posted: closed loop with wrk (in C, one thread), or open loop.

In a closed loop each connection sends its next request when it has its answer, so the latencies are those under
exactly that many requests in flight; they are not those of clients who arrive whether or not the server keeps up. For
those there is ``open_loop``, which is run as a process of its own, too, so that its cost can be told.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.protocols import JSON_HEADERS

_SCRIPT = Path(__file__).parent / "post.lua"
_ANSWER_TIMEOUT_S = 30


class LoadFailedError(RuntimeError):
    """The run's figures are worth nothing: the generator is missing, or a request was not answered with 2xx or 3xx."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run of the generator counted: requests per second, and latencies in milliseconds."""

    requests_s: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float


def generator_version() -> str:
    """The generator's version. Raises LoadFailedError where it is not installed."""
    if shutil.which("wrk") is None:
        raise LoadFailedError("wrk is needed to make load: install it with the system's package manager.")
    answer = subprocess.run(["wrk", "--version"], capture_output=True, text=True, check=False).stdout
    return " ".join(answer.split()[:2])


def run_load(
    url: str, body_file: Path, connections: int, seconds: int, headers: Mapping[str, str] = JSON_HEADERS
) -> Figures:
    """Post ``body_file`` to ``url`` for ``seconds`` over ``connections`` connections.

    Raises:
        LoadFailedError: any request failed, or none was answered.
    """
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", f"--timeout={_ANSWER_TIMEOUT_S}s"]
    command += ["-s", str(_SCRIPT), url, "--", str(body_file), *(f"{name}={value}" for name, value in headers.items())]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + 60)
    lines = [line for line in finished.stdout.splitlines() if line.startswith("{")]
    if finished.returncode != 0 or not lines:
        raise LoadFailedError(f"wrk failed: {finished.stderr or finished.stdout}")
    counted: dict[str, int] = json.loads(lines[-1])
    if counted["failed"]:
        raise LoadFailedError(f"{counted['failed']} of {counted['requests']} requests failed at {url}.")
    if not counted["requests"]:
        raise LoadFailedError(f"No request was answered at {url} within {seconds} s.")
    return Figures(
        requests_s=round(counted["requests"] / counted["duration_us"] * 1e6, 1),
        **{f"{name}_ms": round(counted[f"{name}_us"] / 1e3, 3) for name in ("p50", "p90", "p99", "max")},
    )


def run_open_load(url: str, body_file: Path, connections: int, rate: int, seconds: int) -> dict[str, Any]:
    """Offer ``rate`` requests a second to ``url`` for ``seconds``; see ``open_loop`` for the figures.

    Raises:
        LoadFailedError: a request was answered with something else than a complete 200, or none was answered.
    """
    parts = urlsplit(url)
    to = [str(parts.hostname), str(parts.port), parts.path, str(body_file)]
    command = [sys.executable, "-m", "benchmarks.open_loop", *to, str(connections), str(rate), str(seconds)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + 60)
    if finished.returncode != 0:
        raise LoadFailedError(f"The open loop failed: {finished.stderr.strip()[-300:]}")
    counted: dict[str, Any] = json.loads(finished.stdout)
    if counted["unanswered"] == counted["requests"]:
        raise LoadFailedError(f"No request was answered at {url} within {seconds} s.")
    return counted
