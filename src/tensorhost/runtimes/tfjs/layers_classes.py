"""The classes of layers that a TensorFlow.js model may be made of, and those that are refused, with the reason. Pure.

What must stay true: this is all there is to choose from. A file that names anything else is refused before Keras is
even imported, whatever module or registered name it gives.
"""

from __future__ import annotations

from typing import Any

from tensorhost.core.errors import UnsupportedModelError
from tensorhost.runtimes.contents import shown

INPUT = "InputLayer"
SEQUENTIAL = "Sequential"
MODELS = frozenset({SEQUENTIAL, "Model", "Functional"})
LAYERS = frozenset(
    {
        "Activation",
        "Add",
        "AlphaDropout",
        "Average",
        "AveragePooling1D",
        "AveragePooling2D",
        "AveragePooling3D",
        "BatchNormalization",
        "Bidirectional",
        "CategoryEncoding",
        "CenterCrop",
        "Concatenate",
        "Conv1D",
        "Conv2D",
        "Conv2DTranspose",
        "Conv3D",
        "Conv3DTranspose",
        "ConvLSTM2D",
        "Cropping2D",
        "Dense",
        "DepthwiseConv2D",
        "Dot",
        "Dropout",
        "ELU",
        "Embedding",
        "Flatten",
        "GRU",
        "GaussianDropout",
        "GaussianNoise",
        "GlobalAveragePooling1D",
        "GlobalAveragePooling2D",
        "GlobalMaxPooling1D",
        "GlobalMaxPooling2D",
        "LSTM",
        "LayerNormalization",
        "LeakyReLU",
        "Masking",
        "MaxPooling1D",
        "MaxPooling2D",
        "MaxPooling3D",
        "Maximum",
        "Minimum",
        "Multiply",
        "PReLU",
        "Permute",
        "RNN",
        "ReLU",
        "RepeatVector",
        "Rescaling",
        "Reshape",
        "SeparableConv2D",
        "SimpleRNN",
        "Softmax",
        "SpatialDropout1D",
        "ThresholdedReLU",
        "TimeDistributed",
        "UpSampling2D",
        "ZeroPadding2D",
    }
)
"""Classes of layers, other than inputs and models, that are executed."""

CELLS = frozenset({"SimpleRNNCell", "GRUCell", "LSTMCell", "StackedRNNCells"})
"""Classes that only stand within a layer of the class RNN."""

REFUSED = {
    "Lambda": "is Python code, which tensorhost does not run",
    "RandomWidth": "draws random numbers whenever the model runs",
    "RandomHeight": "draws random numbers whenever the model runs",
    "Resizing": "is one that TensorFlow.js itself cannot execute within a model",
}
"""Classes that are known but not executed, with what completes the sentence that says why."""

_KERAS_PACKAGES = frozenset({"keras", "tf_keras"})


def check_class(name: str, kind: str, data: dict[str, Any]) -> None:
    """Raise UnsupportedModelError unless the layer ``name`` is of a class that a model may have.

    Args:
        name: the layer's name, for the message.
        kind: its class.
        data: what the file says beside its settings: Keras 3 also writes module and registered name.
    """
    details = {"layer": shown(name), "class": shown(kind)}
    if kind in REFUSED:
        raise UnsupportedModelError(f"The layer '{shown(name)}' ({kind}) {REFUSED[kind]}.", details=details)
    if kind not in LAYERS | MODELS | CELLS | {INPUT}:
        raise UnsupportedModelError(
            f"The model uses the layer '{shown(kind)}', which TensorFlow.js does not have; tensorhost loads no custom "
            "code.",
            details=details,
        )
    module, registered = data.get("module"), data.get("registered_name")
    is_keras = module is None or (isinstance(module, str) and module.split(".")[0] in _KERAS_PACKAGES)
    if not is_keras or (registered is not None and registered != kind):
        raise UnsupportedModelError(
            f"The layer '{shown(name)}' ({kind}) is of a class outside Keras; tensorhost loads no custom code.",
            details=details,
        )
