"""Tensors of Predict: read and written on the event loop where that takes microseconds, on a thread where it does not.

Floats lie on the wire as they do in memory, at any size. Whole numbers and strings are gone through one by one, and a
few bytes may state a shape of millions: whatever has many elements is looked at before it may hold up the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from tensorhost.codecs.tensor_proto import decode_tensor, is_quick_to_read, stated_bytes
from tensorhost.codecs.tensor_writing import encode_predict_response, is_written_in_place
from tensorhost.core.errors import PayloadTooLargeError
from tensorhost.core.tensors import Array
from tensorhost.frontends.http.exchange import OFF_LOOP_ELEMENTS
from tensorhost.frontends.unsent_memory import Claim


async def read_inputs(
    tensors: Mapping[str, Any], received_bytes: int, max_elements: int, claim: Claim
) -> dict[str, Array]:
    """The arrays of a request, by name.

    Args:
        tensors: of the wire view.
        received_bytes: size of the request.
        max_elements: most elements of one.
        claim: takes what memory large tensors need beyond ``received_bytes``.

    Raises what ``decode_tensor`` raises; PayloadTooLargeError, too, where other requests have taken too much memory.
    """
    try:
        return _read(tensors, min(OFF_LOOP_ELEMENTS, max_elements))
    except PayloadTooLargeError:
        if max_elements <= OFF_LOOP_ELEMENTS:
            raise
    stated = sum(stated_bytes(tensor, max_elements=max_elements) for tensor in tensors.values())
    unsent_bytes = stated - received_bytes
    if unsent_bytes > 0 and not claim.take(unsent_bytes):
        raise PayloadTooLargeError(
            "Tensors that are larger than their messages take too much memory; max_buffered_body_bytes limits it."
        )
    if all(is_quick_to_read(tensor, received_bytes, few_elements=OFF_LOOP_ELEMENTS) for tensor in tensors.values()):
        return _read(tensors, max_elements)
    return await asyncio.to_thread(_read, tensors, max_elements)


async def write_response(model_spec: bytes, outputs: Mapping[str, Array], *, as_content: bool) -> bytes:
    """``encode_predict_response``."""
    if sum(array.size for array in outputs.values()) <= OFF_LOOP_ELEMENTS or all(
        is_written_in_place(array, as_content=as_content) for array in outputs.values()
    ):
        return encode_predict_response(model_spec, outputs, as_content=as_content)
    return await asyncio.to_thread(encode_predict_response, model_spec, outputs, as_content=as_content)


def _read(tensors: Mapping[str, Any], max_elements: int) -> dict[str, Array]:
    return {name: decode_tensor(tensor, name, max_elements=max_elements) for name, tensor in tensors.items()}
