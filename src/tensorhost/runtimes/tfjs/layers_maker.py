"""What the functions that make layers share: Keras, the weights, names, activations, and how failures are told.

What must stay true: a layer of Keras is made from checked numbers and words and from functions of this package, never
from anything the file names; and every layer gets its weights while it is built, each compared with the shape needed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from itertools import count
from typing import Any

from tensorhost.core.errors import ModelFailedError, TensorhostError
from tensorhost.core.tensors import Array, element_count, format_shape
from tensorhost.runtimes.contents import shown
from tensorhost.runtimes.tensorflow.errors import is_out_of_memory, load_error
from tensorhost.runtimes.tfjs.layers_config import LayerConfig
from tensorhost.runtimes.tfjs.layers_graph import Calls, Masked, Tensor, Unit
from tensorhost.runtimes.tfjs.layers_settings import MAX_SIZE, Settings, snake_case
from tensorhost.runtimes.tfjs.layers_weights import Owner, WeightStore

ACTIVATIONS = frozenset(
    {
        "elu",
        "gelu",
        "gelu_new",
        "hard_sigmoid",
        "linear",
        "log_softmax",
        "mish",
        "relu",
        "relu6",
        "selu",
        "sigmoid",
        "softmax",
        "softplus",
        "softsign",
        "swish",
        "tanh",
    }
)
"""Activations that TensorFlow.js has."""

Activation = Callable[[Tensor], Tensor]
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Maker:
    """Makes layers of Keras.

    Attributes:
        tf, keras: the modules.
        store: the weights.
        scope: what stands before the names of a layer's weights instead of the layer's own name, in a wrapper.
        around: names of the models that the layers lie in.
        numbers: for the names of layers.
        calls: counts calls of layers.
    """

    tf: Any
    keras: Any
    store: WeightStore
    scope: tuple[str, ...] = ()
    around: tuple[str, ...] = ()
    numbers: count[int] = field(default_factory=count)
    calls: Calls = field(default_factory=Calls)

    def within(self, model: str) -> Maker:
        """The same for the layers of a model within the model."""
        return replace(self, scope=(), around=(*self.around, model))

    def under(self, *scope: str) -> Maker:
        """The same for a layer whose weights are named after the layers around it."""
        return replace(self, scope=scope)

    def name(self) -> str:
        """A name that no other layer has; the file's own may be any text and need not be distinct."""
        return f"tfjs_{next(self.numbers)}"

    def weights(self, layer: LayerConfig, *names: str) -> dict[str, Any]:
        """Arguments for a layer of Keras that make it take its weights from the file.

        Args:
            layer: the layer.
            names: of its weights, in the order of TensorFlow.js, without those it does not use.
        """
        owner = Owner(self.scope or (layer.name,), self.around)
        return {
            f"{name.removesuffix('_kernel')}_initializer": self._taken(owner, name, position)
            for position, name in enumerate(names)
        }

    def _taken(self, owner: Owner, name: str, position: int) -> Callable[..., Array]:
        def take(shape: tuple[int, ...], dtype: Any = None) -> Array:  # noqa: ARG001  # Keras converts
            return self.store.take(owner, name, position, shape)

        return take

    def op(self, function: Callable[..., Any], tensors: Tensor | list[Tensor]) -> Tensor:
        """What ``function``, on TensorFlow's tensors, gives for symbolic ones."""
        return _operation_class(self.keras.layers.Layer)(function, self.name())(tensors)

    def activation(self, settings: Settings, name: str = "activation", default: str = "linear") -> Activation:
        """The activation function a setting names, on TensorFlow's tensors or Keras' symbolic ones."""
        return self._activation(_activation_name(settings, name, default))

    def activated(self, settings: Settings) -> Activation:
        """The activation of a layer as one more layer, or nothing more where it is linear."""
        word = _activation_name(settings, "activation", "linear")
        return partial(self.op, self._activation(word)) if word != "linear" else self._activation(word)

    def _activation(self, word: str) -> Activation:
        ops = self.keras.ops
        special: Mapping[str, Activation] = {
            "linear": lambda x: x,
            "hard_sigmoid": lambda x: ops.clip(0.2 * x + 0.5, 0.0, 1.0),
            "mish": lambda x: x * ops.tanh(ops.softplus(x)),
            "swish": lambda x: x * ops.sigmoid(x),
            "gelu": lambda x: ops.gelu(x, approximate=False),
            "gelu_new": lambda x: ops.gelu(x, approximate=True),
        }
        function: Activation = special[word] if word in special else getattr(ops, word)
        return function

    def ignores(self, settings: Settings, **ordinary: object) -> None:
        """Say in the log which settings are not what is ``ordinary`` and change nothing, as in TensorFlow.js."""
        for name, value in ordinary.items():
            if settings.has(name) and settings.raw(name) != value:
                _log.warning(
                    "layer '%s' (%s): TensorFlow.js ignores %s, and so does tensorhost",
                    settings.layer,
                    settings.kind,
                    name,
                )

    def guarded(self, layer: LayerConfig, unit: Unit) -> Unit:
        """``unit``, its failures told in words and its outputs of a sane size."""

        def call(inputs: list[Tensor], masked: Masked | None) -> list[Tensor]:
            outputs: list[Tensor] = self.told(layer, lambda: unit.call(inputs, masked))
            for output in outputs:
                if element_count([size or 1 for size in output.shape]) > MAX_SIZE:
                    raise ModelFailedError(
                        f"The layer '{shown(layer.name)}' ({layer.kind}) has an output of shape "
                        f"{format_shape(tuple(output.shape))}, which is too large."
                    )
            return outputs

        return Unit(call, lambda inputs, masks: self.told(layer, lambda: unit.mask(inputs, masks)))

    def told(self, layer: LayerConfig, run: Callable[[], Any]) -> Any:
        """What ``run`` gives; what Keras raises in it becomes a ModelFailedError that names the layer."""
        try:
            return run()
        except TensorhostError:
            raise
        except Exception as error:  # what Keras raises for shapes and settings that do not fit is not enumerable
            if is_out_of_memory(self.tf, error):
                raise load_error(self.tf, error) from error
            raise ModelFailedError(
                f"The layer '{shown(layer.name)}' ({layer.kind}) does not fit its inputs or its settings.",
                details={"layer": shown(layer.name), "class": layer.kind},
                log_detail=f"{type(error).__name__}: {error}",
            ) from error


def _activation_name(settings: Settings, name: str, default: str) -> str:
    """The word for an activation, which Keras may also write as an object with a class."""
    value = settings.raw(name)
    if not isinstance(value, dict):
        return settings.word(name, ACTIVATIONS, default)
    given = value.get("class_name", value.get("className"))
    word = snake_case(given) if isinstance(given, str) else ""
    if word not in ACTIVATIONS:
        raise settings.wrong(name, "one of " + ", ".join(sorted(ACTIVATIONS)))
    return word


@cache
def _operation_class(base: Any) -> Any:
    """The class of layers that compute a function. (Keras' own for that, Lambda, takes every output for a float.)"""

    class Operation(base):  # type: ignore[misc]  # Keras has no types
        """A function as a layer without weights."""

        def __init__(self, function: Callable[..., Any], name: str) -> None:
            super().__init__(name=name, autocast=False)
            self._compute = function
            self.built = True

        def call(self, inputs: Any) -> Any:
            return self._compute(inputs)

    return Operation


Make = Callable[[LayerConfig, Maker], Unit]
"""A function that makes a layer."""


def one_to_one(function: Callable[[Tensor], Tensor]) -> Callable[[list[Tensor], Masked | None], list[Tensor]]:
    """The call of a layer with one input, one output and no use for masks."""

    def call(inputs: list[Tensor], _masked: Masked | None) -> list[Tensor]:
        (tensor,) = inputs
        return [function(tensor)]

    return call
