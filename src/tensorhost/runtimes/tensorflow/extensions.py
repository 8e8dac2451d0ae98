"""What the operator adds to TensorFlow: modules and shared libraries that register operations, layers and functions.

Both are code and run with the rights of the server, so they come from the operator alone: from settings and from
``model.toml``, never from a request or a model's own files. What must stay true: no folder is added to the search path
of modules; whatever a module does while it is imported costs the load that asked for it and nothing else.
"""

from __future__ import annotations

import importlib
import keyword
import sys
import threading
from pathlib import Path
from typing import Any

from tensorhost.core.errors import MisconfiguredModelError
from tensorhost.runtimes.base import LoadOptions

_LONGEST_NAME = 200
_FLAG = "--import"
_MODEL_FILE = "imports in model.toml"

_lock = threading.RLock()  # a module may use tensorhost while it is imported
_libraries: set[Path] = set()


def register_extensions(tf: Any, options: LoadOptions) -> None:
    """Import ``options.modules``, load ``options.op_libraries``, then import ``options.model_modules``.

    May be called as often as one likes: what is there already is not loaded again, what failed is tried again.

    Args:
        tf: the ``tensorflow`` module.
        options: what to add.

    Raises:
        MisconfiguredModelError: a module or library is missing or fails; the message names it.
    """
    with _lock:
        for name in options.modules:
            _import(name, _FLAG)
        for path in options.op_libraries:
            _load_library(tf, path)
        for name in options.model_modules:
            _import(name, _MODEL_FILE)


def _import(name: str, origin: str) -> None:
    if name in sys.modules:
        return
    if not _is_module_name(name):
        raise MisconfiguredModelError(
            f"'{name[:_LONGEST_NAME]}', given by {origin}, is not the name of a Python module, such as tensorflow_text."
        )
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name not in _parents(name):
            raise _failed(name, origin, error) from error
        raise MisconfiguredModelError(
            f"The module '{name}', given by {origin}, is not installed.",
            details={"module": name},
            log_detail=f"{type(error).__name__}: {error}",
        ) from error
    except (Exception, SystemExit) as error:  # the module's own code runs here
        raise _failed(name, origin, error) from error


def _failed(name: str, origin: str, error: BaseException) -> MisconfiguredModelError:
    return MisconfiguredModelError(
        f"The module '{name}', given by {origin}, failed while it was imported; the log has its error.",
        details={"module": name},
        log_detail=f"{type(error).__name__}: {error}",
    )


def _is_module_name(name: str) -> bool:
    parts = name.split(".")
    return len(name) <= _LONGEST_NAME and all(part.isidentifier() and not keyword.iskeyword(part) for part in parts)


def _parents(name: str) -> list[str]:
    """``a``, ``a.b`` and ``a.b.c`` for ``a.b.c``."""
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _load_library(tf: Any, path: Path) -> None:
    library = path.resolve()
    if library in _libraries:
        return
    if not library.is_file():
        raise MisconfiguredModelError(
            f"The operation library '{path.name}', given by --custom-op-library, does not exist.",
            details={"library": path.name},
            log_detail=f"path: {library}",
        )
    try:
        tf.load_op_library(str(library))
    except (tf.errors.OpError, RuntimeError) as error:
        raise MisconfiguredModelError(
            f"The operation library '{path.name}' cannot be loaded: it is damaged, no shared library, or built for "
            f"another TensorFlow than {tf.__version__}.",
            details={"library": path.name},
            log_detail=f"{type(error).__name__}: {error}",
        ) from error
    _libraries.add(library)
