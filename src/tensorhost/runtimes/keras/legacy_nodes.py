"""How layers are connected: the lists of Keras 2 become the arguments of Keras 3. Pure.

Keras 2 writes the calls of a layer as lists of ``[layer, call, output, keyword arguments]``. Keras 3 reads those too,
but takes a keyword argument that names another layer's output as it stands, and counts the calls of a nested model
differently. What must stay true: every reference is either translated or refused, none is passed on as a list.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tensorhost.core.errors import ModelFailedError, UnsupportedModelError
from tensorhost.runtimes.contents import shown

_CONSTANT = "_CONSTANT_VALUE"
_WITHOUT_MEANING = ("constants", "initial_state", "mask", "training")  # None says the same as not given
_RECURRENT = frozenset({"LSTM", "GRU", "SimpleRNN", "RNN", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D", "Bidirectional"})
_FUNCTIONAL = frozenset({"Functional", "Model"})
MODELS = _FUNCTIONAL | {"Sequential"}
"""Class names of layers that are models themselves."""


def damaged(what: str) -> ModelFailedError:
    """The error for a configuration that Keras cannot have written."""
    return ModelFailedError(f"The model's configuration is damaged: {what}.")


class Connections:
    """Translates the references within one model.

    Args:
        layers: the configurations of its layers as Keras 2 wrote them, each with ``name``, ``class_name`` and
            ``inbound_nodes``.
        rename: gives the name a layer has in Keras 3.
    """

    def __init__(self, layers: list[dict[str, Any]], rename: Callable[[str], str]) -> None:
        self._rename = rename
        self._classes = {layer["name"]: layer["class_name"] for layer in layers}
        # A model is called once while it is made, so Keras 2 counts its calls as a layer from 1.
        self._first_calls = {name: int(kind in MODELS) for name, kind in self._classes.items()}

    def node(self, class_name: str, node: Any) -> dict[str, Any]:
        """One call of a layer of ``class_name`` as ``{"args", "kwargs"}``.

        Raises:
            ModelFailedError: a reference to nothing.
            UnsupportedModelError: an argument that Keras 3 cannot be given.
        """
        if self.is_reference(node):
            node = [node]
        if isinstance(node, dict) and node and "args" not in node:
            leaves = {key: self._leaf(value) for key, value in node.items()}
            mapping = {key: argument for key, (argument, _) in leaves.items()}
            return {"args": [mapping], "kwargs": next(iter(leaves.values()))[1]}
        if not isinstance(node, list) or not node:
            raise damaged("a layer is called without inputs")
        pairs = [self._leaf(item) for item in node]
        first, *others = [argument for argument, _ in pairs]
        keywords = pairs[0][1]
        if others and class_name in _RECURRENT:
            return {"args": [first], "kwargs": {**keywords, "initial_state": others}}
        return {"args": [[first, *others] if others else first], "kwargs": keywords}

    def tensors(self, structure: Any) -> Any:
        """The model's own inputs or outputs; a single one is taken out of its list, as Keras 2 does."""
        if self.is_reference(structure):
            name, call, output = self._checked(structure)
            return [self._rename(name), call + int(self._classes[name] in _FUNCTIONAL), output]
        if isinstance(structure, dict):
            return {key: self.tensors(value) for key, value in structure.items()}
        if not isinstance(structure, list):
            raise damaged("an input or output of the model is not named")
        values = [self.tensors(value) for value in structure]
        return values[0] if len(values) == 1 else values

    def is_reference(self, value: Any) -> bool:
        """Whether the value stands for an output of a layer, or for a constant."""
        return (
            isinstance(value, list)
            and len(value) in (3, 4)
            and isinstance(value[0], str)
            and (value[0] in self._classes or value[0] == _CONSTANT)
            and isinstance(value[1], int)
        )

    def constant(self, reference: list[Any]) -> Any:
        """The value where a reference stands for a constant, else None."""
        return reference[2] if reference[0] == _CONSTANT else None

    def tensor(self, reference: list[Any]) -> dict[str, Any]:
        """An output of a layer, as Keras 3 writes it."""
        name, call, output = self._checked(reference)
        history = [self._rename(name), call, output]
        return {"class_name": "__keras_tensor__", "config": {"shape": [], "dtype": "float32", "keras_history": history}}

    def _checked(self, reference: list[Any]) -> tuple[str, int, int]:
        """Name, number of the call counted from 0, number of the output."""
        name, call, output = reference[:3]
        if name not in self._classes or not isinstance(output, int):
            raise damaged("a connection names no layer")
        counted = call - self._first_calls[name]
        if counted < 0 or output < 0:
            raise damaged(f"a connection names a call of '{shown(name)}' that there is not")
        return name, counted, output

    def _leaf(self, leaf: Any) -> tuple[Any, dict[str, Any]]:
        if not self.is_reference(leaf):
            raise damaged("a layer's input is not named")
        keywords = leaf[3] if len(leaf) > 3 else {}
        if not isinstance(keywords, dict):
            raise damaged("the arguments of a layer's call have no names")
        translated = {
            key: self._value(value)
            for key, value in keywords.items()
            if value is not None or key not in _WITHOUT_MEANING
        }
        return self.tensor(leaf), translated

    def _value(self, value: Any) -> Any:
        """An argument: a number, text, another layer's output, or lists of them."""
        if self.is_reference(value):
            return self.tensor(value)
        if isinstance(value, list):
            return [self._value(item) for item in value]
        if isinstance(value, dict):
            kind = shown(str(value.get("class_name")))
            raise UnsupportedModelError(
                f"A layer of this Keras 2 model is called with an argument of the kind '{kind}', which "
                "Keras 3 cannot be given. Export the model as a SavedModel with the Keras it was made with."
            )
        return value
