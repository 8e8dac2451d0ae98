"""What GetModelMetadata and its REST twin tell: every signature as a ``SignatureDef``.

A SavedModel's are those in its file, byte for byte, with what no client calls (``__saved_model_init_op``) and tensor
names. For other formats they are made from what we know; tensors then have the names of the signature.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tensorhost.codecs.protobuf import message_class
from tensorhost.codecs.tensor_forms import DT_STRING, FORM_OF
from tensorhost.core.dtypes import DType
from tensorhost.core.signatures import Signature
from tensorhost.core.tensors import TensorSpec
from tensorhost.models.servable import Servable

SIGNATURE_DEF = "signature_def"
"""The only metadata there is."""

_PREDICT = "tensorflow/serving/predict"


def signature_defs(servable: Servable) -> Any:
    """A message ``tensorflow.serving.SignatureDefMap`` of everything the model can be asked."""
    found: Any = message_class("tensorflow.serving.SignatureDefMap")()
    raw: Mapping[str, bytes] = servable.loaded.signature_defs
    if raw:
        for name, definition in raw.items():
            found.signature_def[name].MergeFromString(definition)
    else:
        for name, signature in servable.loaded.runtime.signatures.items():
            _describe(signature, found.signature_def[name])
    return found


def _describe(signature: Signature, target: Any) -> None:
    target.method_name = signature.method_name or _PREDICT
    for specs, infos in ((signature.inputs, target.inputs), (signature.outputs, target.outputs)):
        for name, spec in specs.items():
            _describe_tensor(spec, infos[name])


def _describe_tensor(spec: TensorSpec, info: Any) -> None:
    info.name = spec.name
    info.dtype = DT_STRING if spec.dtype is DType.STRING else FORM_OF[spec.dtype].number
    if spec.shape is None:
        info.tensor_shape.unknown_rank = True
        return
    # Also for a scalar, which has no dimensions to add.
    info.tensor_shape.SetInParent()
    for size in spec.shape:
        info.tensor_shape.dim.add().size = -1 if size is None else size
