"""Warm-up examples that a model ships, read as hostile as any request."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tensorhost.codecs import JsonObject, decode_inputs
from tensorhost.core.errors import InvalidRequestError, ModelFailedError, TensorhostError
from tensorhost.core.signatures import Signature
from tensorhost.core.tensors import Tensors
from tensorhost.models.config import resolve_inside

_MAX_EXAMPLES_BYTES = 64 * 2**20


def read_examples(folder: Path, file_name: str | None, signatures: Mapping[str, Signature]) -> dict[str, list[Tensors]]:
    """The examples of each signature.

    Args:
        folder: the model's folder.
        file_name: a JSON list of ``{"signatureName"?, "inputs"}`` inside it; None for no examples.
        signatures: of the loaded model, the default one first.

    Raises:
        ModelFailedError: the file is outside, missing, too large, or does not fit the model.
    """
    if file_name is None:
        return {}
    file = resolve_inside(folder, file_name, "warmup.examples", _MAX_EXAMPLES_BYTES)
    try:
        document = JsonObject.parse(b'{"examples":' + file.read_bytes() + b"}")
        examples: dict[str, list[Tensors]] = {}
        for item in document.items("examples", max_items=1000):
            if isinstance(item, InvalidRequestError):
                raise item
            name = item.fields({"signatureName"}).get("signatureName", next(iter(signatures)))
            tensors = decode_inputs(item, signatures[name].inputs, max_elements=2**27)
            examples.setdefault(name, []).append(tensors)
    except (KeyError, TypeError) as error:
        raise ModelFailedError("A warm-up example names a signature that the model does not have.") from error
    except TensorhostError as error:
        raise ModelFailedError(
            "The warm-up examples must be a JSON list of objects with 'inputs' and, optionally, 'signatureName': "
            + error.message
        ) from error
    return examples
