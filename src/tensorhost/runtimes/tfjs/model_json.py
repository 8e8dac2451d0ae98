"""Reading a TensorFlow.js ``model.json``: topology and weights manifest, checked before anything else is opened.

It decides neither which runtime takes the model nor what the topology means. What must stay true: a file that got
through holds no path that leads out of the model's folder, no dtype nobody can read, and no shape whose size has not
been looked at; nothing is allocated by what a shape says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import orjson

from tensorhost.core.errors import ModelFailedError, UnsupportedModelError
from tensorhost.core.tensors import element_count
from tensorhost.runtimes.contents import shown

MAX_JSON_BYTES = 64 * 2**20
"""Most bytes of a ``model.json``; the largest known hold some 10 MB."""

MAX_DEPTH = 128
"""Most lists and objects inside each other."""

MAX_RANK = 32
MAX_ELEMENTS = 2**31 - 1
"""Most elements of one weight, a size of 0 counted as 1: no typed array of a browser holds more."""

DTYPES = frozenset({"float32", "int32", "bool", "string", "complex64"})
"""Element types of weights that TensorFlow.js reads."""

_QUANTIZED_FROM = {"uint8": {"float32", "int32"}, "uint16": {"float32", "int32"}, "float16": {"float32"}}
_LARGEST_FACTOR = 1e300


@dataclass(frozen=True, slots=True)
class Quantization:
    """How a weight was made smaller: its value is ``stored * scale + minimum``; plainly ``stored`` for float16.

    ``dtype`` is what is stored: ``uint8``, ``uint16`` or ``float16``.
    """

    dtype: str
    scale: float = 1.0
    minimum: float = 0.0


@dataclass(frozen=True, slots=True)
class WeightSpec:
    """One weight of the manifest. ``dtype`` is that of its values, whatever they are stored as.

    ``optimizer`` tells weights that only training needs.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    quantization: Quantization | None
    optimizer: bool


@dataclass(frozen=True, slots=True)
class WeightGroup:
    """Weights that lie back to back in the files ``paths``, as if these were one; relative to the model's folder."""

    paths: tuple[str, ...]
    weights: tuple[WeightSpec, ...]


@dataclass(frozen=True, slots=True)
class ModelJson:
    """A ``model.json``: where it lies, ``modelTopology``, ``weightsManifest``, and the whole document."""

    path: Path
    topology: dict[str, Any]
    manifest: tuple[WeightGroup, ...]
    document: dict[str, Any]

    @property
    def is_graph(self) -> bool:
        """Whether the topology is a TensorFlow graph; otherwise it is a configuration of Keras layers."""
        return "node" in self.topology


def read_model_json(path: Path) -> ModelJson:
    """Read and check the file at ``path``.

    Raises:
        ModelFailedError: it is no ``model.json``, or the manifest is wrong; the message names the field.
        UnsupportedModelError: it has weights but no topology, so there is nothing to execute.
    """
    document = _document(path)
    topology = document.get("modelTopology")
    if topology is None:
        raise UnsupportedModelError("The TensorFlow.js file has no modelTopology: it holds weights, but no model.")
    if not isinstance(topology, dict) or not topology.keys() & {"node", "model_config", "class_name"}:
        raise ModelFailedError(
            "modelTopology must be a graph (with node) or a layers model (with model_config or class_name)."
        )
    groups = _list(document.get("weightsManifest") or [], "weightsManifest")
    folder = path.parent.resolve()
    manifest = tuple(_group(group, f"weightsManifest[{index}]", folder) for index, group in enumerate(groups))
    _check_distinct(manifest)
    return ModelJson(path, topology, manifest, document)


def _document(path: Path) -> dict[str, Any]:
    try:
        size = path.stat().st_size
        if size > MAX_JSON_BYTES:
            raise ModelFailedError(f"The TensorFlow.js file has {size} bytes; at most {MAX_JSON_BYTES} are read.")
        document = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise ModelFailedError("The TensorFlow.js file is not valid JSON: it is damaged or cut short.") from error
    except OSError as error:
        raise ModelFailedError("The TensorFlow.js file cannot be read.", log_detail=str(error)) from error
    if isinstance(document, list):
        raise UnsupportedModelError(
            "The TensorFlow.js file is a bare list of weights, as face-api writes it, without the model they belong to."
        )
    if not isinstance(document, dict):
        raise ModelFailedError("The TensorFlow.js file must hold a JSON object.")
    _check_depth(document)
    return document


def _check_depth(document: Any) -> None:
    level = [document]
    for _ in range(MAX_DEPTH):
        level = [child for value in level for child in _containers_in(value)]
        if not level:
            return
    raise ModelFailedError(f"The TensorFlow.js file nests lists and objects deeper than {MAX_DEPTH} levels.")


def _containers_in(value: Any) -> Iterator[Any]:
    children = value.values() if isinstance(value, dict) else value
    return (child for child in children if isinstance(child, dict | list))


def _group(group: Any, field: str, folder: Path) -> WeightGroup:
    group = _object(group, field)
    paths = _list(group.get("paths"), f"{field}.paths")
    weights = _list(group.get("weights"), f"{field}.weights")
    return WeightGroup(
        tuple(_path(name, f"{field}.paths[{index}]", folder) for index, name in enumerate(paths)),
        tuple(_weight(weight, f"{field}.weights[{index}]") for index, weight in enumerate(weights)),
    )


def _path(name: Any, field: str, folder: Path) -> str:
    """``name``, if it is a plain relative path and what it leads to, through links too, lies in ``folder``."""
    if not isinstance(name, str) or not name:
        raise _wrong(field, "the relative path of a file", name)
    parts = PurePosixPath(name).parts
    if any(mark in name for mark in ("\\", "\0", ":")) or name.startswith("/") or ".." in parts:
        raise _wrong(field, "a path inside the model's folder", name)
    try:
        inside = (folder / name).resolve().is_relative_to(folder)
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links; names no file system takes
        raise _wrong(field, "a path inside the model's folder", name) from error
    if not inside:
        raise _wrong(field, "a path inside the model's folder", name)
    return name


def _weight(weight: Any, field: str) -> WeightSpec:
    weight = _object(weight, field)
    name = weight.get("name")
    if not isinstance(name, str) or not name:
        raise _wrong(f"{field}.name", "a string", name)
    dtype = weight.get("dtype")
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise _wrong(f"{field}.dtype", "one of " + ", ".join(sorted(DTYPES)), dtype)
    return WeightSpec(
        name,
        dtype,
        _shape(weight.get("shape"), f"{field}.shape"),
        _quantization(weight["quantization"], dtype, f"{field}.quantization") if "quantization" in weight else None,
        weight.get("group") == "optimizer",
    )


def _shape(shape: Any, field: str) -> tuple[int, ...]:
    sizes = tuple(_size(size, f"{field}[{index}]") for index, size in enumerate(_list(shape, field)))
    if len(sizes) > MAX_RANK:
        raise _wrong(field, f"at most {MAX_RANK} dimensions", len(sizes))
    if element_count([size or 1 for size in sizes]) > MAX_ELEMENTS:
        raise _wrong(field, f"at most {MAX_ELEMENTS} elements", list(sizes))
    return sizes


def _size(size: Any, field: str) -> int:
    """A dimension: a number, or its digits in a string, as protocol buffers write 64-bit numbers in JSON."""
    if isinstance(size, str) and size.isascii() and size.isdecimal() and len(size) < 20:
        return int(size)
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise _wrong(field, "a whole number from 0 on", size)
    return size


def _quantization(value: Any, dtype: str, field: str) -> Quantization:
    value = _object(value, field)
    stored = value.get("dtype")
    if not isinstance(stored, str) or stored not in _QUANTIZED_FROM:
        raise _wrong(f"{field}.dtype", "one of " + ", ".join(_QUANTIZED_FROM), stored)
    if dtype not in _QUANTIZED_FROM[stored]:
        raise _wrong(f"{field}.dtype", f"one that may hold a weight of type {dtype}", stored)
    if stored == "float16":
        return Quantization(stored)
    return Quantization(
        stored, _factor(value.get("scale"), f"{field}.scale"), _factor(value.get("min"), f"{field}.min")
    )


def _factor(value: Any, field: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _LARGEST_FACTOR:
        raise _wrong(field, "a finite number", value)
    return float(value)


def _check_distinct(manifest: tuple[WeightGroup, ...]) -> None:
    seen: set[str] = set()
    for spec in (spec for group in manifest for spec in group.weights if not spec.optimizer):
        if spec.name in seen:
            raise ModelFailedError(f"The weights manifest has the weight '{shown(spec.name)}' twice.")
        seen.add(spec.name)


def _object(value: Any, field: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(field, "an object", value)
    return value


def _list(value: Any, field: str) -> list[Any]:
    if not isinstance(value, list):
        raise _wrong(field, "a list", value)
    return value


def _wrong(field: str, expected: str, actual: Any) -> ModelFailedError:
    found = "nothing" if actual is None else shown(orjson.dumps(actual).decode())
    return ModelFailedError(
        f"{field} must be {expected}, not {found}.", details={"field": field, "expected": expected, "actual": found}
    )
