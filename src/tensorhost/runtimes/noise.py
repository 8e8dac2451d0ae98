"""Lines that TensorFlow and LiteRT print whenever they start, kept out of the server's log.

They ignore every log level, so they can only be caught at the file descriptor, which is the whole process's: hold it
for moments only.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from typing import BinaryIO

_NOISE = re.compile(
    rb"oneDNN custom operations|before absl::InitializeLog|cpu_feature_guard|To enable the following instructions"
    rb"|Could not find cuda|TF-TRT Warning|Unable to register cu|oneDNN supports DT_HALF only"
    rb"|Created TensorFlow Lite XNNPACK delegate"
)
_descriptor = threading.Lock()


@contextlib.contextmanager
def standard_error_into(file: BinaryIO) -> Iterator[None]:
    """Let what the process, native code included, writes to standard error go to ``file`` instead."""
    with _descriptor:
        sys.stderr.flush()
        original = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(original, 2)
            os.close(original)


@contextlib.contextmanager
def without_noise() -> Iterator[None]:
    """Hold back what is written to standard error, then pass on all but the lines that are printed on every start."""
    with tempfile.TemporaryFile() as held:
        try:
            with standard_error_into(held):
                yield
        finally:
            held.seek(0)
            for line in held:
                if not _NOISE.search(line):
                    os.write(2, line)
