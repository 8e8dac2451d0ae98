"""What a SavedModel says of its signatures, read off its bytes: the SignatureDefs as they are, and default inputs.

TensorFlow is not needed, and what lies between signatures, the graph above all, is passed over unread. What must stay
true: the signatures are those of the graph that is loaded, chosen by the same tags.
"""

from __future__ import annotations

import mmap
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from tensorhost.codecs.tensor_proto import WireTensor, decode_tensor
from tensorhost.core.errors import ModelFailedError, TensorhostError
from tensorhost.core.tensors import Array
from tensorhost.runtimes.wire_format import LENGTH_DELIMITED, fields

SERVE_TAGS = ("serve",)

_FILE, _TEXT_FILE = "saved_model.pb", "saved_model.pbtxt"

# Numbers of fields in TensorFlow's public .proto files, by message.
_SAVED_MODEL_META_GRAPHS = 2
_META_INFO, _META_SIGNATURES, _INFO_TAGS = 1, 5, 4
_ENTRY_KEY, _ENTRY_VALUE = 1, 2
_SIGNATURE_DEFAULTS = 4

_MAX_DEFAULT_ELEMENTS = 2**24


def read_signature_defs(folder: Path, tags: Collection[str] = SERVE_TAGS) -> dict[str, bytes]:
    """The SignatureDefs of the SavedModel in ``folder``, serialized, by key.

    Args:
        folder: has the file ``saved_model.pb`` or ``saved_model.pbtxt``.
        tags: those of the graph that is served. The graph with these and no others comes before one that has them
            among others, that before the only one.

    Raises:
        ModelFailedError: the file is damaged, or no graph has these tags.
    """
    try:
        if not (folder / _FILE).is_file():
            return _signatures(memoryview(_binary_of_text(folder / _TEXT_FILE)), tags)
        with (folder / _FILE).open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        # Not closed here: an error would hold views of it. It goes with the last of them.
        return _signatures(memoryview(data), tags)
    except (OSError, ValueError) as error:
        raise ModelFailedError("saved_model.pb cannot be read: it is damaged.", log_detail=str(error)) from error


def input_defaults(signature_defs: Mapping[str, bytes]) -> tuple[dict[str, dict[str, Array]], dict[str, str]]:
    """What inputs are that a request leaves out, by signature and name; and the reasons where that cannot be read.

    Signatures without such inputs are left out. Raises ValueError where a SignatureDef is damaged.
    """
    found: dict[str, dict[str, Array]] = {}
    problems: dict[str, str] = {}
    for key, definition in signature_defs.items():
        for name, value in _map(memoryview(definition), _SIGNATURE_DEFAULTS).items():
            try:
                tensor = decode_tensor(WireTensor.FromString(value), name, max_elements=_MAX_DEFAULT_ELEMENTS)
            except TensorhostError as error:
                problems[f"{key}.{name}"] = error.message
                continue
            found.setdefault(key, {})[name] = tensor
    return found, problems


def _signatures(saved_model: memoryview, tags: Collection[str]) -> dict[str, bytes]:
    wanted = set(tags)
    graphs = [(_tags(graph), graph) for graph in _values(saved_model, _SAVED_MODEL_META_GRAPHS)]
    exact = [graph for have, graph in graphs if have == wanted]
    among = [graph for have, graph in graphs if wanted <= have]
    only = [graph for _, graph in graphs] if len(graphs) == 1 else []
    chosen = next(iter(exact + among + only), None)
    if not graphs:
        return {}
    if chosen is None:
        raise ModelFailedError(f"None of the model's {len(graphs)} graphs is tagged '{', '.join(sorted(wanted))}'.")
    return _map(chosen, _META_SIGNATURES)


def _tags(meta_graph: memoryview) -> set[str]:
    return {
        bytes(tag).decode("utf-8", "replace")
        for info in _values(meta_graph, _META_INFO)
        for tag in _values(info, _INFO_TAGS)
    }


def _map(message: memoryview, number: int) -> dict[str, bytes]:
    """A map from texts to messages; of entries with one key the last counts."""
    found: dict[str, bytes] = {}
    for entry in _values(message, number):
        key = b"".join(list(_values(entry, _ENTRY_KEY))[-1:])
        found[key.decode("utf-8")] = b"".join(list(_values(entry, _ENTRY_VALUE))[-1:])
    return found


def _values(message: memoryview, number: int) -> Iterator[memoryview]:
    """The values of a field that holds text or messages, in their order."""
    for field in fields(message):
        if field.number == number and field.kind == LENGTH_DELIMITED:
            yield message[field.start : field.end]


def _binary_of_text(file: Path) -> bytes:
    """A SavedModel in text form, which TensorFlow alone reads, and has read by now. Raises OSError, ValueError."""
    from google.protobuf import text_format
    from tensorflow.core.protobuf import saved_model_pb2

    try:
        parsed = text_format.Parse(file.read_text(encoding="utf-8"), saved_model_pb2.SavedModel())
    except text_format.ParseError as error:
        raise ValueError(str(error)) from error
    return bytes(parsed.SerializeToString())
