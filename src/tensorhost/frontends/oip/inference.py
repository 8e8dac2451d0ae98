"""ModelInfer, from a request as either wire reads it to the answer as either writes it.

The one place that knows what an inference request may ask. Front ends read bytes and write bytes; the engine does the
work, with shapes checked strictly. What must stay true: names, datatypes and shapes are compared with the model before
anything is decoded, and what the engine gets is what the signature takes.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

from tensorhost.codecs.oip import InferRequest, InferResponse, InputTensor, OutputTensor, RawElements
from tensorhost.codecs.oip.datatypes import check_answerable
from tensorhost.core.dtypes import DType
from tensorhost.core.errors import TensorhostError
from tensorhost.core.tensors import Array, TensorSpec, element_count
from tensorhost.frontends.oip import faults
from tensorhost.frontends.oip.admitting import admit, admit_at_once, version_text
from tensorhost.frontends.oip.classification import classes
from tensorhost.frontends.oip.inputs import check_inputs, max_batch_size, raw_input
from tensorhost.frontends.oip.parameters import (
    DEFAULT_PRIORITY_LEVEL,
    PRIORITY_LEVELS,
    OutputWish,
    read_output,
    read_parameters,
)
from tensorhost.frontends.oip.shapes import as_it_is_shown, as_the_model_has_it
from tensorhost.frontends.oip.shared_memory import SharedMemory
from tensorhost.frontends.oip.shared_tensors import SharedTensors
from tensorhost.inference import Admission, Call, InferenceEngine

_QUICK_ELEMENTS = 2**15
"""More elements are read, sorted or written as classes on a thread, unless they lie as they are in memory."""
_QUICK_CLASSES = 1024
_MICROSECONDS = 1e6
_NOTHING_SHARED = contextlib.nullcontext()


class Inference:
    """Asks models.

    Args:
        engine: answers.
        shared_memory: of the server.
    """

    def __init__(self, engine: InferenceEngine, shared_memory: SharedMemory) -> None:
        self._engine = engine
        self._shared_memory = shared_memory
        self._max_elements = engine.manager.settings.max_tensor_elements

    async def infer(
        self, request: InferRequest, name: str, number: int | None, wire_deadline: float = math.inf
    ) -> InferResponse:
        """Answer a request.

        Args:
            request: as ``read_http_request`` or ``read_grpc_request`` made it; its inputs are given up.
            name: the model; any text.
            number: of its version, from ``parse_version``; None for the newest that serves.
            wire_deadline: an instant on the monotonic clock; ``inf`` where the transport has none.

        Returns:
            Outputs in the order asked for, all of a dtype that the protocol can carry. Arrays may be views of what
            other requests get too, and must not be written to.

        Raises:
            ModelNotFoundError, VersionNotFoundError, ModelNotReadyError: see ``admitting.admit``.
            InvalidRequestError, UnknownInputError, MissingInputError, InvalidInputTypeError, InvalidInputShapeError:
                the request does not fit the model; the message names the field.
            TensorhostError: the model failed, a queue or the server was full, or the deadline passed.
        """
        try:
            parameters = read_parameters(request.parameters)
            wishes = [read_output(output) for output in request.outputs]
        except TensorhostError as error:
            # No model is known yet to count it for.
            self._engine.metrics.record_unattributed_error(error.code)
            raise
        deadline = self.deadline(wire_deadline, parameters.timeout_us)
        with self.admit_at_once(name, number, deadline) or await self.admit(name, number, deadline) as admission:
            call = self.prepare(admission, wishes, parameters.priority)
            if request.raw_body is not None:
                request.inputs = [raw_input(admission.servable, call, request.raw_body)]
            check_inputs(admission.servable, call, request.inputs)
            with self._shared(name, request.inputs, wishes, deadline) as shared:
                if shared is not None:
                    await shared.read_inputs(request.inputs, max_elements=self._max_elements)
                inputs = await self._decode(call, request.inputs)
                # The engine may overwrite what it owns, and these may be views of the request's bytes.
                result = await self._engine.run(admission, call, inputs)
                answered = await self._with_classes(call, result.outputs, wishes)
                by_row = max_batch_size(admission.servable, call) > 0
                as_binary = request.raw_body is not None or parameters.binary_data_output
                outputs = _outputs(answered, wishes, by_row=by_row, as_binary=as_binary)
                if shared is not None:
                    outputs = await shared.write_outputs(outputs)
        return InferResponse(
            result.model_name, version_text(result.model_version), outputs, request.id, parameters.echoed
        )

    def deadline(self, wire: float = math.inf, timeout_us: int = 0) -> float:
        """The instant by which a request is to be answered, on the monotonic clock.

        Args:
            wire: what the transport says; ``inf`` for none.
            timeout_us: the request's own parameter, in microseconds; 0 for none.

        Returns:
            The earlier of the two; the server's default where there is neither.
        """
        if timeout_us:
            return min(wire, self._engine.deadline(timeout_us / _MICROSECONDS))
        return wire if wire != math.inf else self._engine.deadline(None)

    async def admit(self, name: str, number: int | None, deadline: float) -> Admission:
        """A permit and a lease, or a refusal in Triton's words; see ``admitting.admit``."""
        return await admit(self._engine, name, number, deadline)

    def admit_at_once(self, name: str, number: int | None, deadline: float) -> Admission | None:
        """``admit`` without a coroutine, for a model that serves; None where ``admit`` has to be awaited."""
        return admit_at_once(self._engine, name, number, deadline)

    def prepare(self, admission: Admission, wishes: Sequence[OutputWish] = (), priority: int = 0) -> Call:
        """Resolve what is asked of a model, before its inputs are decoded.

        ``call.preprocessing.wire_specs`` then says which inputs there are.

        Args:
            admission: from ``admit``.
            wishes: the outputs wanted; empty for all.
            priority: as the request says it; 1 to 3, anything else means 2.

        Raises:
            InvalidRequestError: there is no such output, it is asked for twice, or has no classes.
            UnsupportedTypeError: the protocol cannot carry the output.
        """
        names = [wish.name for wish in wishes] or None
        level = priority if 1 <= priority <= PRIORITY_LEVELS else DEFAULT_PRIORITY_LEVEL
        call = self._engine.prepare(admission, raw_outputs=True, outputs=names, priority=level)
        known = call.signature.outputs
        seen: set[str] = set()
        for wish in wishes:
            spec = known.get(wish.name)
            if spec is None:
                raise faults.unexpected_output(wish.name, admission.servable.id.name)
            if wish.name in seen:
                raise faults.duplicate_output(wish.name)
            seen.add(wish.name)
            if wish.classes and (spec.dtype.is_string or spec.dtype.is_complex):
                raise faults.no_classes(wish.name, spec.dtype)
        return call

    async def _decode(self, call: Call, given: Sequence[InputTensor]) -> Mapping[str, Array]:
        specs = call.preprocessing.wire_specs
        if any(map(_is_slow, given)):
            arrays = await asyncio.to_thread(_decode_all, given, specs, self._max_elements)
        else:
            arrays = _decode_all(given, specs, self._max_elements)
        # The batch queue wants the signature's order, which a client need not keep.
        return arrays if len(arrays) == 1 else {name: arrays[name] for name in specs}

    async def _with_classes(
        self, call: Call, outputs: Mapping[str, Array], wishes: Sequence[OutputWish]
    ) -> Mapping[str, Array]:
        """``outputs``, of which those are strings that are wanted as classes."""
        classified = {
            wish.name: await self._classes(call, wish.name, outputs[wish.name], wish.classes)
            for wish in wishes
            if wish.classes
        }
        return {**outputs, **classified} if classified else outputs

    async def _classes(self, call: Call, name: str, scores: Array, count: int) -> Array:
        labels, by_row = call.postprocessing.labels, call.signature.outputs[name].is_batchable
        written = min(scores.size, count * (scores.shape[0] if scores.ndim else 1))
        if scores.size > _QUICK_ELEMENTS or written > _QUICK_CLASSES:
            return await asyncio.to_thread(classes, scores, count, labels, by_row=by_row)
        return classes(scores, count, labels, by_row=by_row)

    def _shared(
        self, model: str, inputs: Sequence[InputTensor], wishes: Sequence[OutputWish], deadline: float
    ) -> AbstractContextManager[SharedTensors | None]:
        """What of a request lies in shared memory or is wanted there; None where nothing is."""
        wanted = {wish.name: wish.shared for wish in wishes if wish.shared is not None}
        if not wanted and all(each.elements is not None for each in inputs):
            return _NOTHING_SHARED
        return SharedTensors(self._shared_memory, model, wanted, deadline)


def _outputs(
    answered: Mapping[str, Array], wishes: Sequence[OutputWish], *, by_row: bool, as_binary: bool
) -> list[OutputTensor]:
    """Outputs as they are answered; ``as_binary`` is what holds for all that say nothing of it."""
    wished = {wish.name: wish.binary_data for wish in wishes if wish.binary_data is not None}
    outputs: list[OutputTensor] = []
    for name, array in answered.items():
        check_answerable(DType.of(array), name)
        shown = as_it_is_shown(array, by_row=by_row)
        outputs.append(OutputTensor(name, shown, as_binary=wished.get(name, as_binary)))
    return outputs


def _is_slow(given: InputTensor) -> bool:
    """Whether reading an input may take a millisecond or more; numbers as raw bytes take none, however many."""
    is_raw = isinstance(given.elements, RawElements) and given.datatype != "BYTES"
    return not is_raw and element_count(given.shape) > _QUICK_ELEMENTS


def _decode_all(given: Sequence[InputTensor], specs: Mapping[str, TensorSpec], max_elements: int) -> dict[str, Array]:
    return {each.name: as_the_model_has_it(specs[each.name], each.decode(max_elements=max_elements)) for each in given}
