"""Operations that only TensorFlow.js has, written out in those that TensorFlow has.

Converters fuse a convolution or a matrix product, a bias and an activation into one node. TensorFlow has such nodes
too, but for itself: what they take changes from version to version. Written out, TensorFlow fuses them again its own
way. What must stay true: the last of the new nodes has the name of the old one, so that nobody who reads it notices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, count
from typing import Any

from tensorhost.core.errors import UnsupportedModelError
from tensorhost.runtimes.contents import shown
from tensorhost.runtimes.tensorflow.graph_scan import node_name, shape_of

_KERNELS = {
    "_FusedConv2D": ("Conv2D", ("strides", "padding", "explicit_paddings", "data_format", "dilations")),
    "FusedDepthwiseConv2dNative": (
        "DepthwiseConv2dNative",
        ("strides", "padding", "explicit_paddings", "data_format", "dilations"),
    ),
    "_FusedMatMul": ("MatMul", ("transpose_a", "transpose_b")),
}
_RENAMED = {"DepthwiseConv2d": "DepthwiseConv2dNative"}
_ACTIVATIONS = {"relu": "Relu", "relu6": "Relu6", "elu": "Elu", "sigmoid": "Sigmoid", "leakyrelu": "LeakyRelu"}
_LEAKY_ALPHA = 0.2


@dataclass(slots=True, eq=False)
class _Step:
    """One new node: its operation, what it reads (nodes of the graph, or other steps), and attributes."""

    op: str
    inputs: Sequence[str | _Step]
    attributes: dict[str, Any] = field(default_factory=dict)


def expand_own_operations(graph_def: Any) -> None:
    """Replace such operations in the graph and in its functions.

    Raises:
        UnsupportedModelError: a fusion that TensorFlow.js refuses as well.
    """
    _Body(graph_def.node, set(), is_function=False).expand()
    for function in graph_def.library.function:
        arguments = {argument.name for argument in function.signature.input_arg}
        body = _Body(function.node_def, arguments, is_function=True)
        body.expand()
        for name, source in function.ret.items():
            function.ret[name] = body.renewed(source)


class _Body:
    """The nodes of a graph or of one function, where a source names the output too."""

    def __init__(self, nodes: Any, arguments: set[str], *, is_function: bool) -> None:
        self._nodes = nodes
        self._is_function = is_function
        self._taken = {node.name for node in nodes} | arguments
        self._shapes = {
            node.name: shape_of(node.attr["value"].tensor.tensor_shape) for node in nodes if node.op == "Const"
        }
        self._expanded: dict[str, str] = {}

    def expand(self) -> None:
        for node in list(self._nodes):
            node.op = _RENAMED.get(node.op, node.op)
            if node.op == "Print":  # would write a client's values to the log
                _keep_first_input(node)
            elif node.op == "Prelu" or node.op in _KERNELS:
                self._write(node, self._steps(node))
        if self._is_function and self._expanded:
            for node in self._nodes:
                node.input[:] = [self.renewed(source) for source in node.input]

    def renewed(self, source: str) -> str:
        """``source`` with the output's new name, where it is an expanded node of a function."""
        name = node_name(source)
        return self._expanded[name] if name in self._expanded and not source.startswith("^") else source

    def _steps(self, node: Any) -> _Step:
        inputs = [source for source in node.input if not source.startswith("^")]
        if node.op == "Prelu":
            if len(inputs) != 2:
                raise _refused(node, f"{len(inputs)} inputs")
            return _prelu(inputs[0], inputs[1])
        fused = [value.decode(errors="replace") for value in node.attr["fused_ops"].list.s]
        bias, activation = [name.lower() for name in (*fused, "", "")][:2]
        arguments = 2 + bool(bias) + (activation == "prelu")
        known = bias in {"", "biasadd"} and activation in {"", "prelu", *_ACTIVATIONS} and len(fused) <= 2
        if not known or len(inputs) != arguments:
            raise _refused(node, f"{' + '.join(fused) or 'nothing'} with {len(inputs)} inputs")
        op, names = _KERNELS[node.op]
        step = _Step(op, inputs[:2], {name: node.attr[name] for name in names if name in node.attr})
        if bias:
            step = self._biased(node, step, inputs[2])
        return _activated(node, step, activation, inputs)

    def _biased(self, node: Any, step: _Step, bias: str) -> _Step:
        """A bias is usually one number per channel; TensorFlow.js takes everything that can be broadcast."""
        shape = self._shapes.get(node_name(bias))
        if shape is not None and (len(shape) != 1 or shape[0] == 1):
            return _Step("AddV2", [step, bias])
        attributes = {name: node.attr[name] for name in ("data_format",) if name in node.attr}
        return _Step("BiasAdd", [step, bias], attributes)

    def _write(self, node: Any, last: _Step) -> None:
        """Turn ``node`` into ``last`` and add the nodes of the steps before it."""
        controls = [source for source in node.input if source.startswith("^")]
        dtype = _element_type(node)
        written: dict[int, str] = {}
        for step in _in_order(last):
            target = node if step is last else self._nodes.add(name=self._free_name(f"{node.name}_{step.op}"))
            sources = [written[id(source)] if isinstance(source, _Step) else source for source in step.inputs]
            attributes = {name: type(dtype)() for name in step.attributes}
            for name, value in step.attributes.items():
                attributes[name].CopyFrom(value)
            _fill(target, step.op, sources, attributes | {"T": dtype})
            written[id(step)] = self._source(target)
        node.input.extend(controls)
        if self._is_function:
            self._expanded[node.name] = written[id(last)]

    def _source(self, node: Any) -> str:
        from tensorflow.python.framework import op_def_registry

        if not self._is_function:
            return str(node.name)
        return f"{node.name}:{op_def_registry.get(node.op).output_arg[0].name}:0"

    def _free_name(self, wanted: str) -> str:
        names = chain([wanted], (f"{wanted}_{number}" for number in count(1)))
        name = next(name for name in names if name not in self._taken)
        self._taken.add(name)
        return name


def _activated(node: Any, step: _Step, activation: str, inputs: Sequence[str]) -> _Step:
    if not activation:
        return step
    if activation == "prelu":
        return _prelu(step, inputs[3])
    attributes = {"alpha": _number(node, "leakyrelu_alpha", _LEAKY_ALPHA)} if activation == "leakyrelu" else {}
    return _Step(_ACTIVATIONS[activation], [step], attributes)


def _prelu(source: str | _Step, alpha: str) -> _Step:
    """``max(x, 0) - alpha * max(-x, 0)``."""
    negative = _Step("Relu", [_Step("Neg", [source])])
    return _Step("Sub", [_Step("Relu", [source]), _Step("Mul", [alpha, negative])])


def _in_order(last: _Step) -> list[_Step]:
    """All steps up to ``last``, each once and after those it reads."""
    ordered: list[_Step] = []
    for source in last.inputs:
        if isinstance(source, _Step):
            ordered += [step for step in _in_order(source) if not any(step is seen for seen in ordered)]
    return [*ordered, last]


def _fill(node: Any, op: str, sources: Sequence[str], attributes: dict[str, Any]) -> None:
    node.op = op
    node.input[:] = sources
    node.attr.clear()
    for name, value in attributes.items():
        node.attr[name].CopyFrom(value)


def _keep_first_input(node: Any) -> None:
    controls = [source for source in node.input if source.startswith("^")]
    dtype = _element_type(node)
    _fill(node, "Identity", [*node.input[:1], *controls], {"T": dtype})


def _element_type(node: Any) -> Any:
    from tensorflow.core.framework import attr_value_pb2, types_pb2

    told = node.attr["T"].type if "T" in node.attr else 0
    return attr_value_pb2.AttrValue(type=told or types_pb2.DT_FLOAT)


def _number(node: Any, name: str, default: float) -> Any:
    from tensorflow.core.framework import attr_value_pb2

    return attr_value_pb2.AttrValue(f=node.attr[name].f if name in node.attr else default)


def _refused(node: Any, found: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"The node '{shown(node.name)}' ({node.op}) fuses {shown(found)}, which TensorFlow.js does not execute."
    )
