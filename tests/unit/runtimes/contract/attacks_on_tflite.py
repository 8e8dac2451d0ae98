"""TensorFlow Lite models that were made to do harm."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from contract_damage import Attack


def _flat(change: Callable[[Any], None]) -> Attack:
    def attack(model: Path) -> Path:
        import flatbuffers
        from ai_edge_litert import schema_py_generated as schema

        flat = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(bytearray(model.read_bytes()), 0))
        change(flat)
        builder = flatbuffers.Builder()
        builder.Finish(flat.Pack(builder), b"TFL3")
        model.write_bytes(bytes(builder.Output()))
        return model

    return attack


def _tensors(**fields: Any) -> Attack:
    def change(flat: Any) -> None:
        for tensor in flat.subgraphs[0].tensors:
            for name, value in fields.items():
                setattr(tensor, name, value)

    return _flat(change)


def _operators(**fields: Any) -> Attack:
    def change(flat: Any) -> None:
        for operator in flat.subgraphs[0].operators:
            for name, value in fields.items():
                setattr(operator, name, value)

    return _flat(change)


def _operation(code: int) -> Attack:
    def change(flat: Any) -> None:
        for found in flat.operatorCodes:
            found.builtinCode, found.deprecatedBuiltinCode = code, min(code, 127)

    return _flat(change)


def _own_output(flat: Any) -> None:
    for operator in flat.subgraphs[0].operators:
        operator.inputs = list(operator.outputs) * len(operator.inputs)


def _endless_while(flat: Any) -> None:
    """A loop whose body is the graph the loop is in."""
    from ai_edge_litert import schema_py_generated as schema

    main = flat.subgraphs[0]
    options = schema.WhileOptionsT()
    options.condSubgraphIndex = options.bodySubgraphIndex = 0
    flat.operatorCodes[0].builtinCode = schema.BuiltinOperator.WHILE
    flat.operatorCodes[0].deprecatedBuiltinCode = schema.BuiltinOperator.WHILE
    operator = main.operators[0]
    operator.opcodeIndex = 0
    operator.inputs, operator.outputs = list(main.inputs), list(main.outputs)
    operator.builtinOptionsType, operator.builtinOptions = schema.BuiltinOptions.WhileOptions, options
    main.operators = [operator]


TFLITE: Mapping[str, Attack] = {
    "tensors of many gigabytes": _tensors(shape=[2**15, 2**15, 2**4]),
    "tensors whose size overflows": _tensors(shape=[2**31 - 1, 2**31 - 1, 2**31 - 1]),
    "tensors of negative size": _tensors(shape=[-7, 4]),
    "tensors without a shape": _tensors(shape=[]),
    "tensors of many dimensions": _tensors(shape=[1] * 200),
    "tensors of an unknown type": _tensors(type=99),
    "tensors that are texts": _tensors(type=5),
    "tensors in no buffer": _tensors(buffer=4096),
    "tensors all constant": _tensors(buffer=2),
    "tensors all variable": _tensors(isVariable=True),
    "operators that read beyond": _operators(inputs=[5000, 6000]),
    "operators that read before": _operators(inputs=[-5, -7]),
    "operators that write beyond": _operators(outputs=[5000]),
    "operators without inputs": _operators(inputs=[]),
    "operators without outputs": _operators(outputs=[]),
    "operators of no kind": _operators(opcodeIndex=77),
    "operators that read what they write": _flat(_own_output),
    "a loop in itself": _flat(_endless_while),
    "an unknown operation": _operation(9999),
    "another operation": _operation(3),  # a convolution
    "a third operation": _operation(36),  # a gathering
    "no graph": _flat(lambda flat: flat.subgraphs.clear()),
    "no operator codes": _flat(lambda flat: flat.operatorCodes.clear()),
    "no buffers": _flat(lambda flat: flat.buffers.clear()),
    "inputs that are not there": _flat(lambda flat: setattr(flat.subgraphs[0], "inputs", [400])),
    "outputs that are not there": _flat(lambda flat: setattr(flat.subgraphs[0], "outputs", [400])),
}
