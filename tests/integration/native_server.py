"""A real server process for tests: started as a user starts it, asked over real sockets, its log read as it comes."""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

COMMAND = Path(sys.executable).parent / "tensorhost"
TIMEOUT_S = 60.0
_DEFAULTS = {
    "CUDA_VISIBLE_DEVICES": "",
    "PYTHONUNBUFFERED": "1",
    # What a server says must not depend on the other runtimes that are installed, nor on earlier runs.
    "TENSORHOST_RUNTIME": "native",
    "TENSORHOST_CACHE_SIZE": "0",
    # Servers of tests run beside each other; those that speak gRPC pick a port.
    "TENSORHOST_GRPC_PORT": "0",
}


@dataclass(frozen=True)
class Answer:
    """A response: status, headers by lower-case name, and the raw body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The error of a refusal, after checking that it has the one shape."""
        assert self.headers["content-type"] == "application/json"
        assert set(self.json) == {"error"}
        error = self.json["error"]
        assert set(error) == {"code", "message", "details", "requestId"}
        assert isinstance(error["message"], str)
        assert error["message"]
        assert isinstance(error["details"], dict)
        assert error["requestId"] == self.headers["x-request-id"]
        return error


class RunningServer:
    """A server process. Use as a context manager; leaving it stops the process and waits for its end."""

    def __init__(self, *args: object, command: str = "serve", port: int = 0, **environment: str) -> None:
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("TENSORHOST_")}
        self.process = subprocess.Popen(
            self._line(command, args, port),
            env=inherited | _DEFAULTS | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.records: list[dict[str, Any]] = []
        self.printed: list[str] = []
        self._news = threading.Condition()
        self._readers = [
            threading.Thread(target=self._read, args=(self.process.stderr, self._note), daemon=True),
            threading.Thread(target=self._read, args=(self.process.stdout, self.printed.append), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def _line(self, command: str, args: tuple[object, ...], port: int) -> list[str]:
        """The command line; a subclass may have another."""
        return [str(COMMAND), command, *map(str, args), "--port", str(port), "--log-format", "json"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(TIMEOUT_S)
        for reader in self._readers:
            reader.join(TIMEOUT_S)
        self.process.stdout.close()
        self.process.stderr.close()

    @property
    def port(self) -> int:
        return int(self.wait_for("listening")["url"].rsplit(":", 1)[1])

    @property
    def grpc_address(self) -> str:
        """Where gRPC clients reach it."""
        return self.wait_for("listening")["grpc"]

    def wait_for(self, event: str, **fields: object) -> dict[str, Any]:
        """The first log record of that event with those fields, as soon as there is one."""
        found: list[dict[str, Any]] = []

        def there() -> bool:
            found.extend(record for record in self.records if {"event": event, **fields}.items() <= record.items())
            return bool(found) or self.process.poll() is not None

        with self._news:
            self._news.wait_for(there, TIMEOUT_S)
        assert found, f"no record {event!r} with {fields}; the log ends with {self.records[-5:]}"
        return found[0]

    def wait_for_count(self, event: str, count: int, **fields: object) -> None:
        """Return when there are ``count`` log records of that event with those fields."""

        def there() -> bool:
            found = [record for record in self.records if {"event": event, **fields}.items() <= record.items()]
            return len(found) >= count or self.process.poll() is not None

        with self._news:
            assert self._news.wait_for(there, TIMEOUT_S), f"not {count} records {event!r} with {fields}"

    def printed_line(self, beginning: str) -> str:
        """The first line on standard output that begins so, as soon as there is one."""

        def there() -> bool:
            return any(line.startswith(beginning) for line in self.printed)

        with self._news:
            assert self._news.wait_for(there, TIMEOUT_S), self.printed
        return next(line for line in self.printed if line.startswith(beginning)).rstrip("\n")

    def stop(self) -> int:
        """Send SIGTERM and wait; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(TIMEOUT_S)

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_S)

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """One request on a connection of its own; a body that is not bytes is sent as JSON."""
        connection = self.connect()
        try:
            return exchange(connection, method, path, body, headers)
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.request("GET", path, **headers)

    def predict(self, model: str, inputs: Any, **fields: Any) -> Any:
        """``POST /predict`` that must succeed; the whole answer."""
        answer = self.request("POST", "/predict", {"modelName": model, "inputs": inputs, **fields})
        assert answer.status == 200, answer.body[:2000]
        return answer.json

    def refuse(self, model: str, inputs: Any, **fields: Any) -> dict[str, Any]:
        """``POST /predict`` that must fail; the error."""
        return self.request("POST", "/predict", {"modelName": model, "inputs": inputs, **fields}).error

    def batch(self, model: str, items: list[Any], **fields: Any) -> list[Any]:
        """``POST /batch-predict`` that must succeed; the results."""
        answer = self.request("POST", "/batch-predict", {"modelName": model, "batch": items, **fields})
        assert answer.status == 200, answer.body[:2000]
        assert len(answer.json["results"]) == len(items)
        return answer.json["results"]

    def metrics(self) -> dict[str, Any]:
        return self.get("/metrics").json

    def _read(self, stream: Any, take: Any) -> None:
        for line in stream:
            with self._news:
                take(line)
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def _note(self, line: str) -> None:
        # TensorFlow's C++ writes lines of its own.
        if line.startswith("{"):
            self.records.append(json.loads(line))


def exchange(
    connection: http.client.HTTPConnection, method: str, path: str, body: Any = None, headers: Any = None
) -> Answer:
    """One request on ``connection``. Underscores in header names stand for dashes."""
    sent = {name.replace("_", "-"): value for name, value in (headers or {}).items()}
    if body is not None and not isinstance(body, bytes) and not hasattr(body, "__next__"):
        body = json.dumps(body).encode()
    connection.request(method, path, body=body, headers=sent, encode_chunked=hasattr(body, "__next__"))
    response = connection.getresponse()
    raw = response.read()
    return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, raw)


def b64(data: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(data).decode()}
