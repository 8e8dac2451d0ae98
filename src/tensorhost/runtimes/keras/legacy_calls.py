"""Calls of TensorFlow's own functions between the layers of a Keras 2 model. Pure.

Keras 2 made a layer of each (``TFOpLambda``), called once. Keras 3 gets one layer, ``TensorFlowCall``, that is given
the tensors of the call and holds everything else of it: a template in which ``{"tensor": n}`` stands for the tensor of
that number, ``{"slice": [start, stop, step]}`` and ``{"ellipsis": true}`` for what JSON has not.
"""

from __future__ import annotations

from typing import Any

from tensorhost.runtimes.contents import shown
from tensorhost.runtimes.keras.legacy_functions import TENSORFLOW_CALL, TENSORFLOW_FUNCTIONS
from tensorhost.runtimes.keras.legacy_nodes import Connections, damaged
from tensorhost.runtimes.keras.legacy_rules import unsupported

CALL_CLASSES = frozenset({"TFOpLambda", "SlicingOpLambda"})
"""Class names of such layers."""


def modern_call(layer: dict[str, Any], name: str, connections: Connections) -> dict[str, Any]:
    """The layer with its one call, as Keras 3 writes it.

    Args:
        layer: as Keras 2 wrote it, within a functional model.
        name: what the layer is called in Keras 3.
        connections: of that model.

    Raises:
        ModelFailedError: Keras cannot have written this.
        UnsupportedModelError: a function, or an argument of it, that is not allowed; the message names it.
    """
    config = layer["config"] if isinstance(layer.get("config"), dict) else {}
    function = config.get("function")
    if not isinstance(function, str) or function not in TENSORFLOW_FUNCTIONS:
        raise unsupported(
            "TFOpLambda", layer["name"], f"it calls {shown(f'tf.{function}')}, which is not among the functions allowed"
        )
    if len(layer["inbound_nodes"]) != 1:
        raise damaged("a call of a TensorFlow function is there more than once")
    call = _Call(layer["name"], connections)
    arguments, keywords = call.template(layer["inbound_nodes"][0])
    if not call.tensors:
        raise unsupported("TFOpLambda", layer["name"], "it has no tensor among its arguments")
    settings = {"name": name, "function": function, "arguments": arguments, "keywords": keywords}
    return {
        "module": None,
        "class_name": "TensorFlowCall",
        "config": settings,
        "registered_name": TENSORFLOW_CALL,
        "inbound_nodes": [{"args": [call.tensors], "kwargs": {}}],
    }


class _Call:
    """One call, whose tensors are numbered as they are met."""

    def __init__(self, name: str, connections: Connections) -> None:
        self.tensors: list[dict[str, Any]] = []
        self._name = name
        self._connections = connections

    def template(self, node: Any) -> tuple[list[Any], dict[str, Any]]:
        """The positional and the named arguments."""
        if self._connections.is_reference(node):
            return [self._leaf(node)], self._keywords(node)
        if not isinstance(node, list) or not node or not all(map(self._connections.is_reference, node)):
            raise damaged("a TensorFlow function is called without inputs")
        leaves = [self._leaf(item) for item in node]
        return [leaves if len(leaves) > 1 else leaves[0]], self._keywords(node[0])

    def _keywords(self, leaf: list[Any]) -> dict[str, Any]:
        keywords = leaf[3] if len(leaf) > 3 else {}
        if not isinstance(keywords, dict):
            raise damaged("the arguments of a call have no names")
        return {key: self._value(value) for key, value in keywords.items() if key != "name"}

    def _leaf(self, leaf: list[Any]) -> Any:
        constant = self._connections.constant(leaf)
        if constant is not None:
            return self._value(constant)
        self.tensors.append(self._connections.tensor(leaf))
        return {"tensor": len(self.tensors) - 1}

    def _value(self, value: Any) -> Any:
        if self._connections.is_reference(value):
            return self._leaf(value)
        if isinstance(value, list):
            return [self._value(item) for item in value]
        if not isinstance(value, dict):
            return value
        if value.get("class_name") == "__ellipsis__":
            return {"ellipsis": True}
        bounds = value.get("config") if value.get("class_name") == "__slice__" else value
        if isinstance(bounds, dict) and bounds.keys() == {"start", "stop", "step"}:
            return {"slice": [self._value(bounds[key]) for key in ("start", "stop", "step")]}
        kind = shown(str(value.get("class_name", "mapping")))
        raise unsupported("TFOpLambda", self._name, f"it has an argument of the kind {kind}")
