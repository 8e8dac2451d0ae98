"""Signatures that converters for TensorFlow Serving wrote into a model's metadata, before the format had its own.

Under the name ``signature_defs_metadata`` lies a FlexBuffer map from keys to serialized SignatureDefs, which name the
main graph's tensors as TensorFlow named them, with or without ``:0``. What must stay true: it is a courtesy, so
whatever is wrong with one of them, the model is served without it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from google.protobuf.message import DecodeError

from tensorhost.codecs.protobuf import message_class
from tensorhost.runtimes.litert.flexbuffer import read_map
from tensorhost.runtimes.litert.model_file import ModelFile, SignatureRecord

_SignatureDef: Any = message_class("tensorflow.SignatureDef")
_log = logging.getLogger(__name__)


def serving_signatures(model: ModelFile) -> list[SignatureRecord]:
    """The signatures in the metadata, with the tensors they name; those whose tensors are not there are left out."""
    if not model.serving_signatures:
        return []
    graph = model.subgraphs[0]
    inputs, outputs = (
        {_bare(graph.tensors[index].name): index for index in ports} for ports in (graph.inputs, graph.outputs)
    )
    found: list[SignatureRecord] = []
    try:
        for key, serialized in read_map(model.serving_signatures).items():
            definition = _SignatureDef.FromString(serialized)
            record = SignatureRecord(key, _ports(definition.inputs, inputs), _ports(definition.outputs, outputs), 0)
            if len(record.inputs) == len(definition.inputs) and len(record.outputs) == len(definition.outputs):
                found.append(record)
            else:
                _log.warning("signature '%s' in the metadata names tensors that the model does not have", key)
    except (ValueError, DecodeError) as error:
        _log.warning("signatures in the metadata cannot be read: %s", error)
    return found


def _ports(infos: Mapping[str, Any], tensors: Mapping[str, int]) -> dict[str, int]:
    named = {name: _bare(infos[name].name) for name in sorted(infos)}
    return {name: tensors[tensor] for name, tensor in named.items() if tensor in tensors}


def _bare(name: str) -> str:
    return name.removesuffix(":0")
