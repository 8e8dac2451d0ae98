"""Which model a cloud's request is about, and the request that asks it in TensorFlow Serving's or Triton's way."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from tensorhost.codecs.oip import HEADER_LENGTH
from tensorhost.core.errors import InvalidRequestError, ModelNotFoundError
from tensorhost.core.ids import is_valid_name
from tensorhost.frontends.containers.bodies import serving_body
from tensorhost.frontends.containers.delegation import Delegated, binary_type
from tensorhost.frontends.http.exchange import OFF_LOOP_BYTES, Exchange
from tensorhost.models.manager import ModelManager
from tensorhost.settings import Settings

_ATTRIBUTES = b"x-amzn-sagemaker-custom-attributes"
_METHODS = ("predict", "classify", "regress")
_VERSION = re.compile(r"[0-9]{1,19}", re.ASCII)
_LONGEST_SHOWN = 128


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of which model; ``version`` is empty where any will do."""

    model: str
    version: str = ""
    method: str = "predict"

    def __post_init__(self) -> None:
        # All three become parts of a path.
        if not is_valid_name(self.model):
            raise ModelNotFoundError(f"There is no model '{self.model[:_LONGEST_SHOWN]}'.")
        if self.version and not _VERSION.fullmatch(self.version):
            raise InvalidRequestError("tfs-model-version must be a number.")
        if self.method not in _METHODS:
            raise InvalidRequestError(f"tfs-method must be one of {', '.join(_METHODS)}.")

    @property
    def _versioned(self) -> str:
        return f"models/{self.model}" + (f"/versions/{self.version}" if self.version else "")

    @property
    def serving_path(self) -> str:
        """The route of TensorFlow Serving's REST API."""
        return f"/v1/{self._versioned}:{self.method}"

    @property
    def oip_path(self) -> str:
        """The route of the Open Inference Protocol."""
        return f"/v2/{self._versioned}/infer"


class Questions:
    """Reads requests.

    Args:
        manager: knows the models.
        settings: which model is meant where none is named, and which protocol plain JSON is of.
    """

    def __init__(self, manager: ModelManager, settings: Settings) -> None:
        self._manager = manager
        self._model = settings.container_model
        self._is_oip = settings.container_api == "oip"

    def default_model(self) -> str:
        """The model that is meant where none is named. Raises InvalidRequestError where that is not clear."""
        if self._model is not None:
            return self._model
        models = list(self._manager.models())
        if len(models) != 1:
            raise InvalidRequestError(
                f"There are {len(models)} models: the setting container_model says which of them is meant."
            )
        return models[0]

    def of(self, exchange: Exchange, model: str | None = None) -> Question:
        """The question of a request: about ``model``, or the one that its attributes name, or the default one.

        Raises:
            ModelNotFoundError: what is named can be no model.
            InvalidRequestError: an attribute is not what it should be, or no model is named where it must be.
        """
        attributes = _attributes(exchange)
        chosen = model or attributes.get("tfs-model-name") or self.default_model()
        return Question(chosen, attributes.get("tfs-model-version", ""), attributes.get("tfs-method", "predict"))

    async def asked(self, exchange: Exchange, question: Question) -> Delegated:
        """The request to pass on, whose body is read here unless it goes on as it is.

        Raises:
            UnsupportedMediaTypeError: a media type that is none of these.
            TensorhostError: the body is too large or broken.
        """
        content_type = _content_type(exchange)
        binary = _with_binary_data(content_type, question.oip_path)
        if binary is not None:
            return binary
        if self._is_oip:
            return Delegated(question.oip_path, headers={HEADER_LENGTH: None})
        body = await exchange.body()
        field = "instances" if question.method == "predict" else "examples"
        essence = content_type.partition(";")[0].strip().lower()
        if len(body) > OFF_LOOP_BYTES:
            body = await asyncio.to_thread(serving_body, body, essence, field)
        else:
            body = serving_body(body, essence, field)
        replaced = {b"content-type": b"application/json", b"content-encoding": None, b"content-length": None}
        return Delegated(question.serving_path, headers=replaced, body=body)


def redirected(exchange: Exchange, path: str, method: str, headers: Mapping[bytes, bytes | None]) -> Delegated:
    """The request as it came, for another route; ``headers`` as ``Delegated`` has them.

    Raises InvalidRequestError where the media type should say how long the JSON is and does not.
    """
    to = _with_binary_data(_content_type(exchange), path) or Delegated(path)
    return replace(to, method=method, headers={**to.headers, **headers})


def _with_binary_data(content_type: str, path: str) -> Delegated | None:
    """The request to ``path`` of a body whose media type says that binary data follow its JSON; None for others."""
    binary = binary_type(content_type)
    if binary is None:
        return None
    media_type, size = binary
    lengths = {b"content-type": b"application/octet-stream", HEADER_LENGTH: b"%d" % size}
    return Delegated(path, headers=lengths, binary_type=media_type)


def _content_type(exchange: Exchange) -> str:
    return (exchange.header(b"content-type") or b"").decode("latin-1").strip()


def _attributes(exchange: Exchange) -> dict[str, str]:
    """The custom attributes of a request, ``name=value`` between commas.

    Raises InvalidRequestError: one comes twice, and not alike.
    """
    text = (exchange.header(_ATTRIBUTES) or b"").decode("latin-1")
    attributes: dict[str, str] = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        name = name.strip().lower()
        if equals and attributes.setdefault(name, value.strip()) != value.strip():
            raise InvalidRequestError(
                f"The custom attribute {name[:_LONGEST_SHOWN]} comes twice, and not alike.",
                details={"field": name[:_LONGEST_SHOWN]},
            )
    return attributes
