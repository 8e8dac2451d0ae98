"""Memory for a large request body, taken when its head has told how long it will be, and filled where it lies.

Text becomes ``bytes``, as every parser wants them. A body with binary tensor data becomes a writable memoryview, placed
so that its first tensor begins on a 64-byte border: TensorFlow reads no other array in place, and OpenVINO and LiteRT
copy what they could not write to.
What must stay true: memory that the process does not have yet is not touched before bytes come for it, so that whoever
announces a body and sends none of it costs addresses and no memory.
"""

from __future__ import annotations

import io
from collections.abc import Iterable

from tensorhost.codecs.oip import HEADER_LENGTH
from tensorhost.core.tensors import aligned_bytes

_MOST_DIGITS = 18
_NOTHING = memoryview(b"")


class ReservedBody:
    """A body of ``size`` bytes of which some have come.

    Args:
        size: of the body, in bytes.
        tensors_at: where in it the first tensor begins; None for a body that is text.
    """

    __slots__ = ("_filled", "_memory", "_text", "size")

    def __init__(self, size: int, tensors_at: int | None) -> None:
        self.size = size
        self._filled = 0
        self._text: io.BytesIO | None = None
        if tensors_at is None:
            # Zeros that nobody else holds: the stream takes them over as they are, and gives them out again. They are
            # written in memory that was used before only, since the system hands out zeros.
            self._text = io.BytesIO(bytes(size))
            self._memory = self._text.getbuffer()
        else:
            self._memory = aligned_bytes(size, tensors_at)

    @property
    def room(self) -> memoryview:
        """Where what has not come yet is to go, in order."""
        return self._memory[self._filled :]

    def fill(self, size: int) -> None:
        """Note that the first ``size`` bytes of ``room`` have been written."""
        self._filled += size

    def take(self) -> bytes | memoryview:
        """The body, which is complete, and from now on the caller's. Once."""
        memory, self._memory = self._memory, _NOTHING
        text, self._text = self._text, None
        if text is None:
            return memory
        memory.release()  # while it can be written to, the stream would give out a copy
        return text.getvalue()


def first_tensor(headers: Iterable[tuple[bytes, bytes]], size: int) -> int | None:
    """Where in a body of ``size`` bytes its binary tensor data begin, as its head has it; None where it has none.

    Args:
        headers: of the request, names in lower case.
        size: of the body, in bytes.
    """
    fields = dict(headers)
    value = fields.get(HEADER_LENGTH)
    if value is None or b"content-encoding" in fields or not value.isdigit() or len(value) > _MOST_DIGITS:
        return None
    return min(int(value), size)
