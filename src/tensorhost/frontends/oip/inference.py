"""ModelInfer, from what a request says of its tensors to the outputs it wants, for every wire.

The one place that knows what an inference request may ask. A front end reads the request, asks ``admit`` for the model,
``prepare`` for the call and ``check_inputs`` what it may decode, decodes, and gets its outputs from ``run``. What must
stay true: shapes are checked before anything is decoded, and what the engine gets is what the signature takes.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tensorhost.codecs.oip_datatypes import DATATYPE_OF, DTYPE_OF
from tensorhost.core.dtypes import DType
from tensorhost.core.tensors import Array, TensorSpec
from tensorhost.frontends.oip import faults
from tensorhost.frontends.oip.admitting import admit, admit_at_once, version_text
from tensorhost.frontends.oip.classification import classes
from tensorhost.inference import Admission, Call, InferenceEngine
from tensorhost.models.servable import Servable

_QUICK_CLASSES = 1024
_QUICK_SCORES = 2**15
"""More of them are sorted and written on a thread."""


class InputHeader(NamedTuple):
    """What a request says of an input before its data."""

    name: str
    datatype: str
    shape: Sequence[int]


class RequestedOutput(NamedTuple):
    """An output asked for; with ``classes`` its that many highest values, as strings, instead of the tensor."""

    name: str
    classes: int = 0


class Answer(NamedTuple):
    """What was answered, and by what.

    Attributes:
        model_name: the model.
        model_version: the number of its version, or its name where that is none.
        outputs: arrays by name, in the order asked for; every one of a dtype that the protocol has a datatype for.
    """

    model_name: str
    model_version: str
    outputs: Mapping[str, Array]


class Inference:
    """Asks models.

    Args:
        engine: answers.
    """

    def __init__(self, engine: InferenceEngine) -> None:
        self._engine = engine

    def deadline(self, wire: float = math.inf, timeout_us: int = 0) -> float:
        """The instant by which a request is to be answered, on the monotonic clock.

        Args:
            wire: what the transport says; ``inf`` for none.
            timeout_us: the request's own parameter, from ``read_parameters``; 0 for none.

        Returns:
            The earlier of the two; the server's default where there is neither.
        """
        if timeout_us:
            return min(wire, time.monotonic() + timeout_us / 1e6)
        return wire if wire != math.inf else self._engine.deadline(None)

    async def admit(self, name: str, number: int | None, deadline: float) -> Admission:
        """A permit and a lease, or a refusal in Triton's words; see ``admitting.admit``."""
        return await admit(self._engine, name, number, deadline)

    def admit_at_once(self, name: str, number: int | None, deadline: float) -> Admission | None:
        """``admit`` without a coroutine, for a model that serves; None where ``admit`` has to be awaited."""
        return admit_at_once(self._engine, name, number, deadline)

    def prepare(self, admission: Admission, outputs: Sequence[RequestedOutput] = ()) -> Call:
        """Resolve what is asked of a model, before its inputs are decoded.

        ``call.preprocessing.wire_specs`` then says which inputs there are.

        Args:
            admission: from ``admit``.
            outputs: those wanted; empty for all.

        Raises:
            InvalidRequestError: there is no such output, it is asked for twice, or has no classes.
        """
        if not outputs:
            return self._engine.prepare(admission, raw_outputs=True)
        names = [output.name for output in outputs]
        call = self._engine.prepare(admission, raw_outputs=True, outputs=names)
        known = call.signature.outputs
        seen: set[str] = set()
        for name, count in outputs:
            spec = known.get(name)
            if spec is None:
                raise faults.unexpected_output(name, admission.servable.id.name)
            if name in seen:
                raise faults.duplicate_output(name)
            if count and (spec.dtype.is_string or spec.dtype.is_complex):
                raise faults.no_classes(name, datatype_of(spec.dtype))
            seen.add(name)
        return call

    def check_inputs(self, admission: Admission, call: Call, headers: Sequence[InputHeader]) -> list[DType]:
        """The dtypes to decode inputs as, in their order.

        Args:
            admission, call: from ``admit`` and ``prepare``.
            headers: of all inputs that the request has.

        Raises:
            UnknownInputError, MissingInputError: the names are not those of the model's inputs.
            InvalidRequestError: an input is given twice.
            InvalidInputTypeError: an input has another datatype than the model's, or one there is not.
            InvalidInputShapeError: its shape, or its number of rows, is not what the model takes.
        """
        specs, model = call.preprocessing.wire_specs, admission.servable.id.name
        most = max_batch_size(admission.servable, call)
        dtypes: list[DType] = []
        seen: set[str] = set()
        for header in headers:
            name = header[0]
            spec = specs.get(name)
            if spec is None:
                raise faults.unexpected_input(name, model)
            if name in seen:
                raise faults.duplicate_input(name)
            seen.add(name)
            dtypes.append(_check_input(header, spec, model, most, takes_images=call.preprocessing.options.decode))
        if len(seen) != len(specs):
            raise faults.missing_inputs(specs, [header[0] for header in headers], model)
        return dtypes

    def raw_input(self, admission: Admission, call: Call, size: int) -> InputHeader:
        """What the body of a request is that is nothing but the data of its model's one input, one row of it.

        A string is the whole body, without the length that stands before each of several.

        Args:
            admission, call: from ``admit`` and ``prepare``.
            size: of the body, in bytes.

        Raises:
            InvalidRequestError: the model has more than one input.
            InvalidInputShapeError: the input cannot be of that size.
        """
        specs, model = call.preprocessing.wire_specs, admission.servable.id.name
        if len(specs) != 1:
            raise faults.several_raw_inputs(model, len(specs))
        [(name, spec)] = specs.items()
        return InputHeader(name, datatype_of(spec.dtype), _raw_shape(spec, model, size))

    async def run(
        self,
        admission: Admission,
        call: Call,
        inputs: Mapping[str, Array],
        outputs: Sequence[RequestedOutput] = (),
        *,
        owned: bool = False,
    ) -> Answer:
        """Run what ``prepare`` has resolved.

        Args:
            admission, call: from ``admit`` and ``prepare``.
            inputs: by name, decoded as ``check_inputs`` has said.
            outputs: as given to ``prepare``.
            owned: whether the arrays are given up and may be overwritten; not for views of a request's body.

        Raises:
            TensorhostError: the model refused them or failed, the queue was full, or the deadline passed.
        """
        # The batch queue wants the signature's order, which a client need not keep.
        wanted = call.preprocessing.wire_specs
        ordered = inputs if len(inputs) == 1 else {name: inputs[name] for name in wanted}
        result = await self._engine.run(admission, call, ordered, owned=owned)
        answered: dict[str, Array] = dict(result.outputs)
        for name, count in outputs:
            if count:
                answered[name] = await self._classes(call, name, answered[name], count)
        for name, array in answered.items():
            if DType.of(array) not in DATATYPE_OF:
                raise faults.no_datatype(name, DType.of(array).value)
        return Answer(result.model_name, version_text(result.model_version), answered)

    async def _classes(self, call: Call, name: str, scores: Array, count: int) -> Array:
        labels, by_row = call.postprocessing.labels, call.signature.outputs[name].is_batchable
        if min(scores.size, count * max(scores.shape[:1], default=1)) > _QUICK_CLASSES or scores.size > _QUICK_SCORES:
            return await asyncio.to_thread(classes, scores, count, labels, by_row=by_row)
        return classes(scores, count, labels, by_row=by_row)


def datatype_of(dtype: DType) -> str:
    """The protocol's name of a dtype; our own in capitals, which no request can carry, where it has none."""
    return DATATYPE_OF.get(dtype, dtype.value.upper())


def max_batch_size(servable: Servable, call: Call) -> int:
    """Most rows of a request; 0 for a model whose requests share no calls, whose shapes have no dimension for rows."""
    options = servable.queue(call.signature.name).options
    return (options.max_request_rows or options.max_batch_rows) if options.batched else 0


def _check_input(header: InputHeader, spec: TensorSpec, model: str, most: int, *, takes_images: str | None) -> DType:
    name, datatype, shape = header
    dtype = DTYPE_OF.get(datatype)
    if dtype is None:
        raise faults.invalid_datatype(name, datatype)
    if dtype is not spec.dtype:
        # The model's owner may have it take encoded images, one string for each row.
        if not (dtype.is_string and takes_images):
            raise faults.wrong_datatype(name, datatype, model, datatype_of(spec.dtype))
    elif not spec.admits(shape):
        raise faults.wrong_shape(name, model, spec.shape, shape)
    if most and spec.is_batchable and shape and shape[0] > most:
        raise faults.batch_too_large(name, model, shape[0], most)
    return dtype


def _raw_shape(spec: TensorSpec, model: str, size: int) -> list[int]:
    """The shape of one row of ``size`` bytes; one dimension besides the rows may be free."""
    if spec.shape is None:
        raise faults.wrong_shape(spec.name, model, None, [size])
    shape = [1 if size is None and position == 0 else size for position, size in enumerate(spec.shape)]
    free = [position for position, known in enumerate(shape) if known is None]
    fixed = math.prod(known for known in shape if known is not None) * max(spec.dtype.numpy.itemsize, 1)
    if spec.dtype.is_string:
        if len(free) > 0 or math.prod(known or 1 for known in shape) != 1:
            raise faults.wrong_shape(spec.name, model, spec.shape, [1])
        return [known or 1 for known in shape]
    if len(free) > 1 or (free and (not fixed or size % fixed)):
        raise faults.wrong_size(spec.name, model, fixed, size)
    if not free and fixed != size:
        raise faults.wrong_size(spec.name, model, fixed, size)
    return [size // fixed if known is None else known for known in shape]
