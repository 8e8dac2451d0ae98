"""The synchronous client of the native HTTP API.

Every call is one request: nothing is retried, cached or redirected. Answers are the server's JSON as it came, so
that keys a newer server adds are there to be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import httpx
import orjson

from tensorhost.client.encoding import to_json
from tensorhost.client.errors import INVALID_ANSWER, ClientError, ServerUnreachableError
from tensorhost.core.ids import check_name

DEFAULT_URL = "http://localhost:3000"
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_BAD_URL = "The server's URL must look like http://host:port."
_OK = frozenset({200})
_CONNECT_TIMEOUT_S = 5.0
"""A long timeout is for slow models, not for addresses where nobody is."""


class Client:
    """A connection pool to one server; a context manager, safe to share between threads.

    Args:
        url: the server's base URL, ``http://host:port``.
        token: bearer token for the control routes; sent with every request.
        timeout_s: longest silence of the server, in seconds, before a call is given up.

    Raises:
        ValueError: ``url`` is no http or https URL.
    """

    def __init__(self, url: str = DEFAULT_URL, *, token: str | None = None, timeout_s: float = 60.0) -> None:
        try:
            address = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise ValueError(_BAD_URL) from error
        if address.scheme not in ("http", "https") or not address.host or (address.port or 0) > 65535:
            raise ValueError(_BAD_URL)
        self.url = url.rstrip("/")
        headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        self._http = httpx.Client(
            headers=headers,
            timeout=httpx.Timeout(timeout_s, connect=min(timeout_s, _CONNECT_TIMEOUT_S)),
            # A proxy from the environment cannot reach this machine's own loopback.
            trust_env=address.host not in _LOOPBACK,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. The client cannot be used after."""
        self._http.close()

    def health(self) -> dict[str, Any]:
        """``{"status": "healthy"}``, or another word while the server starts or drains; both are answers."""
        return self._call("GET", "/health", answers_with=_OK | {503})

    def models(self) -> list[dict[str, Any]]:
        """The loaded models, one entry per version."""
        answer = self._call("GET", "/models")
        if not isinstance(answer.get("models"), list):
            raise _not_ours(200, self.url)
        models: list[dict[str, Any]] = answer["models"]
        return models

    def model(self, name: str) -> dict[str, Any]:
        """One model with all its versions in all states, and the error of each failed load."""
        return self._call("GET", f"/models/{check_name(name)}")

    def predict(
        self,
        model: str,
        inputs: object,
        version: str | None = None,
        signature: str | None = None,
        preprocessing: Mapping[str, object] | None = None,
        postprocessing: Mapping[str, object] | None = None,
        timeout_ms: float | None = None,
    ) -> dict[str, Any]:
        """Run a model.

        Args:
            model: its name.
            inputs: the rows, first dimension the batch: an array, nested lists, or a mapping of these by the name
                of the input. bytes (an image, say) may stand wherever a value may.
            version: a version or label; the newest available when None.
            signature: the signature to call; the default one when None.
            preprocessing: options that override the model's own.
            postprocessing: options that override the model's own.
            timeout_ms: time the server may take, in milliseconds.

        Returns:
            The answer: ``predictions`` (bare for one output, by name for several), ``modelVersion`` and timings
            in milliseconds.

        Raises:
            ClientError: the server refused or failed.
            ServerUnreachableError: there was no answer.
            TensorhostError: the inputs cannot be sent; nothing was.
        """
        body = {
            "modelName": model,
            "modelVersion": version,
            "signatureName": signature,
            "inputs": inputs,
            "preprocessing": preprocessing,
            "postprocessing": postprocessing,
            "timeoutMs": timeout_ms,
        }
        return self._call("POST", "/predict", body)

    def load(self, name: str, version: str | None = None, path: str | None = None) -> dict[str, Any]:
        """Load a model's version, or what lies at ``path`` on the server's disk. Returns the server's answer."""
        return self._call("POST", f"/models/{check_name(name)}/load", {"version": version, "path": path})

    def unload(self, name: str, version: str | None = None) -> dict[str, Any]:
        """Unload one version, or all of a model's. Returns the server's answer."""
        return self._call("POST", f"/models/{check_name(name)}/unload", {"version": version})

    def metrics(self) -> dict[str, Any]:
        """Counters since the server started, for the process and by model."""
        return self._call("GET", "/metrics")

    def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        answers_with: frozenset[int] = _OK,
    ) -> dict[str, Any]:
        content, headers = None, {}
        if body is not None:
            content = to_json({key: value for key, value in body.items() if value is not None})
            headers = {"Content-Type": "application/json"}
        try:
            response = self._http.request(method, self.url + path, content=content, headers=headers)
        except httpx.TimeoutException as error:
            raise ServerUnreachableError(f"The server at {self.url} did not answer in time.") from error
        except httpx.ConnectError as error:
            raise ServerUnreachableError(f"Nothing answers at {self.url}; is the server running?") from error
        except httpx.RequestError as error:
            raise ServerUnreachableError(f"The connection to {self.url} broke.") from error
        return _read(response, self.url, answers_with)


def _read(response: httpx.Response, url: str, answers_with: frozenset[int]) -> dict[str, Any]:
    try:
        answer = orjson.loads(response.content)
    except orjson.JSONDecodeError as error:
        raise _not_ours(response.status_code, url) from error
    if not isinstance(answer, dict):
        raise _not_ours(response.status_code, url)
    problem = answer.get("error")
    if isinstance(problem, dict) and isinstance(problem.get("code"), str):
        raise ClientError(
            str(problem.get("message", problem["code"])),
            code=problem["code"],
            http_status=response.status_code,
            details=problem["details"] if isinstance(problem.get("details"), dict) else None,
            request_id=problem.get("requestId"),
        )
    if response.status_code not in answers_with:
        raise _not_ours(response.status_code, url)
    return answer


def _not_ours(status: int, url: str) -> ClientError:
    return ClientError(
        f"{url} answered {status}, but not as a tensorhost server does.", code=INVALID_ANSWER, http_status=status
    )
