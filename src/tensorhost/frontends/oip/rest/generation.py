"""``POST /v2/models/…/generate``: one text to a model whose only input is a text, and flat answers back."""

from __future__ import annotations

from typing import Any

from tensorhost.codecs import JsonObject, dumps
from tensorhost.codecs.oip import InferRequest, InferResponse, InputTensor, Parameters, RawElements, encode_raw
from tensorhost.codecs.oip.raw import object_array
from tensorhost.core.errors import InvalidRequestError, TensorhostError
from tensorhost.frontends.http.exchange import Exchange, Reply
from tensorhost.frontends.oip import faults
from tensorhost.frontends.oip.admitting import parse_version
from tensorhost.frontends.oip.metadata import ModelMetadata, TensorMetadata
from tensorhost.frontends.oip.open_inference import OpenInference
from tensorhost.frontends.oip.rest.targets import Target

_BESIDES = ("id", "parameters")


class Generation:
    """The route.

    Args:
        offered: the protocol's calls.
    """

    def __init__(self, offered: OpenInference) -> None:
        self._offered = offered
        self._max_depth = offered.settings.max_json_depth

    async def generate(self, exchange: Exchange, target: Target) -> Reply:
        """The model's outputs by name: a single value bare, others in one list."""
        offered, inference = self._offered, self._offered.inference
        number = self._counted(parse_version, target.version)
        model = await offered.model_metadata(target.name, number, inference.deadline())
        body = await exchange.body()
        request = self._counted(_read, body, model, self._max_depth)
        return Reply(_written(await inference.infer(request, target.name, number)))

    def _counted(self, read: Any, *args: Any) -> Any:
        """What ``read`` makes of a request; what it raises is counted here, since no version will."""
        try:
            return read(*args)
        except TensorhostError as error:
            self._offered.engine.metrics.record_unattributed_error(error.code)
            raise


def _read(body: bytes, model: ModelMetadata, max_depth: int) -> InferRequest:
    if len(model.inputs) != 1 or model.inputs[0].datatype != "BYTES":
        raise faults.not_generative(model.name)
    [wanted] = model.inputs
    given = JsonObject.parse(body, max_depth=max_depth).fields((wanted.name, *_BESIDES), deferred=())
    text, request_id = given.get(wanted.name), given.get("id", "")
    if not isinstance(text, str):
        raise InvalidRequestError(f"'{wanted.name}' must be a string", details={"field": wanted.name})
    if not isinstance(request_id, str):
        raise InvalidRequestError("'id' must be a string", details={"field": "id"})
    return InferRequest(request_id, _parameters(given.get("parameters")), [_input(wanted, text)])


def _parameters(given: object) -> Parameters:
    parameters = {} if given is None else given
    if not isinstance(parameters, dict) or not all(
        isinstance(value, bool | int | float | str) for value in parameters.values()
    ):
        raise InvalidRequestError(
            "'parameters' must be an object of strings, numbers and booleans", details={"field": "parameters"}
        )
    return parameters


def _input(wanted: TensorMetadata, text: str) -> InputTensor:
    # One row of one text, whatever dimensions the input has.
    shape = tuple(1 if size < 0 else size for size in wanted.shape)
    elements = RawElements(encode_raw(object_array([text.encode(errors="replace")])))
    return InputTensor(wanted.name, wanted.datatype, shape, elements=elements)


def _written(response: InferResponse) -> bytes:
    answer: dict[str, Any] = {"id": response.id} if response.id else {}
    answer |= {"model_name": response.model_name, "model_version": response.model_version}
    for output in response.outputs:
        if output.array is not None:
            flat = output.array.reshape(-1)
            answer[output.name] = flat[0] if flat.size == 1 else flat
    return dumps(answer)
