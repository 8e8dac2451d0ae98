"""A file as a value of a request: its bytes, or one clear error before anything is sent."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from tensorhost.client.errors import InvalidRequestError, PayloadTooLargeError

MOST_FILE_BYTES = 512 * 2**20
"""A file beyond this is a mistake; servers take 32 MiB unless told otherwise."""

# A pipe without a writer would keep whoever opens it waiting for ever.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def read_file(path: Path) -> bytes:
    """The bytes of a regular file; symbolic links are followed.

    Raises:
        InvalidRequestError: it does not exist, may not be read, or is a folder, pipe or device.
        PayloadTooLargeError: it has more than ``MOST_FILE_BYTES``.
    """
    try:
        descriptor = os.open(path, _FLAGS)
        try:
            # What is checked must be what is read, even if the name comes to stand for something else in between.
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise InvalidRequestError(f"{path} is not a file.", details={"path": str(path)})
            if status.st_size > MOST_FILE_BYTES:
                raise PayloadTooLargeError(
                    f"The file {path} is larger than {MOST_FILE_BYTES:,} bytes.", details={"path": str(path)}
                )
            with open(descriptor, "rb", closefd=False) as file:
                return file.read()
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidRequestError(f"The file {path} cannot be read: {reason}.", details={"path": str(path)}) from error
