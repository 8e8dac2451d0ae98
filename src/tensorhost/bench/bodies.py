"""The request a server is loaded with: bytes that it has answered once.

Inputs come from the user or are made up from the signature in the server's metadata; the first made-up ones that the
server takes are used. Every request of a run is the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from tensorhost.bench.plan import HttpTarget
from tensorhost.client import Client, ClientError
from tensorhost.client.encoding import to_json
from tensorhost.core.dtypes import DType
from tensorhost.core.errors import InvalidRequestError
from tensorhost.core.signatures import Signature
from tensorhost.core.tensors import TensorSpec
from tensorhost.core.version import __version__
from tensorhost.models.synthesis import candidates

_BAD_REQUEST = 400


def request_of(
    client: Client, model: str, inputs: object, *, version: str | None, signature: str | None, rows: int
) -> tuple[bytes, dict[str, Any]]:
    """The body of a request the server has answered, and what its answer tells: the model's version.

    Args:
        client: of the server.
        model, version, signature: as in ``Client.predict``.
        inputs: what to send; None for made-up inputs of ``rows`` rows.

    Raises:
        ClientError: the server refuses the request, or every made-up one, or there was no answer.
        InvalidRequestError: nothing can be made up; the message says why.
    """
    if inputs is not None:
        answer = client.predict(model, inputs, version=version, signature=signature)
        return _body(model, inputs, version, signature), {"version": answer.version}
    refusal: ClientError | None = None
    for candidate in candidates(_signature(client.model(model), version, signature)):
        tensors = candidate.rows(rows)
        made_up: object = tensors if len(tensors) > 1 else next(iter(tensors.values()))
        try:
            answer = client.predict(model, made_up, version=version, signature=signature)
        except ClientError as error:
            if error.http_status != _BAD_REQUEST:
                raise
            refusal = refusal or error
            continue
        return _body(model, made_up, version, signature), {"version": answer.version}
    reason = f" ({refusal.message})" if refusal else ""
    raise InvalidRequestError(f"The server refuses all inputs made up from the signature; give --input{reason}")


def http_target(url: str, body_bytes: int) -> HttpTarget:
    """Where to post a body of so many bytes, and the head of the request."""
    parts = urlsplit(url)
    tls = parts.scheme == "https"
    host, port = parts.hostname or "localhost", parts.port or (443 if tls else 80)
    head = (
        f"POST {parts.path.rstrip('/')}/predict HTTP/1.1\r\nHost: {parts.netloc.rpartition('@')[2]}\r\n"
        f"User-Agent: tensorhost-bench/{__version__}\r\nAccept: application/json\r\n"
        f"Content-Type: application/json\r\nContent-Length: {body_bytes}\r\n\r\n"
    )
    return HttpTarget(host, port, head, tls)


def _body(model: str, inputs: object, version: str | None, signature: str | None) -> bytes:
    fields = {"modelName": model, "modelVersion": version, "signatureName": signature, "inputs": inputs}
    return to_json({name: value for name, value in fields.items() if value is not None})


def _signature(model: Mapping[str, Any], version: str | None, signature: str | None) -> Signature:
    """The signature to make inputs up for, from a model's description."""
    described = model
    if version is not None:
        named = [
            one
            for one in model.get("versions", [])
            if one.get("version") == version or version in one.get("versionLabels", [])
        ]
        described = named[0] if named else {}
    signatures = described.get("signatures")
    if not signatures:
        raise InvalidRequestError(
            "The model is not loaded, so inputs cannot be made up from its signature; load it first, or give --input."
        )
    chosen = signatures.get(signature or next(iter(signatures)))
    if chosen is None:
        raise InvalidRequestError(f"The model has no signature '{signature}'; it has: {', '.join(signatures)}.")
    specs = {
        one["name"]: TensorSpec(one["name"], DType(one["dtype"]), _shape(one["shape"])) for one in chosen["inputs"]
    }
    return Signature(signature or "", specs, {})


def _shape(shape: list[int | None] | None) -> tuple[int | None, ...] | None:
    return None if shape is None else tuple(shape)
