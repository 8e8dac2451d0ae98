"""Models with the operations that only converters write: fused convolutions and matrix products, Prelu."""

from __future__ import annotations

import numpy as np
from tfjs_graph_models import FLOAT, GraphModel, node, tensor_info

RANDOM = np.random.default_rng()  # seeded for each case by graph_models
ACTIVATIONS = ("", "Relu", "Relu6", "Elu", "Sigmoid", "LeakyRelu", "Prelu")


def _normal(*sizes: int, scale: float = 1.0) -> np.ndarray:
    return (RANDOM.normal(size=sizes) * scale).astype(np.float32)


def _fused(activation: str) -> list[str]:
    return ["BiasAdd", activation] if activation else ["BiasAdd"]


def _sign(model: GraphModel, inputs: dict, outputs: list[str]) -> None:
    model.sign(
        {name: tensor_info(f"{name}:0", FLOAT, *sizes) for name, sizes in inputs.items()},
        {name: {"name": f"{name}:0", "dtype": FLOAT, "tensorShape": {"unknownRank": True}} for name in outputs},
    )


def convolutions() -> tuple[GraphModel, dict]:
    """Every activation behind a fused convolution and a fused depthwise one, with strides, padding, dilations."""
    model = GraphModel()
    model.placeholder("x", FLOAT, -1, 6, 6, 2)
    model.const("kernel", _normal(3, 3, 2, 3, scale=0.5))
    model.const("filter", _normal(2, 2, 2, 2, scale=0.5))
    model.const("bias3", _normal(3))
    model.const("bias4", _normal(4))
    model.const("wide_bias", _normal(1, 1, 1, 3))
    model.const("alpha3", _normal(3))
    model.const("alpha4", _normal(1, 1, 4))
    options = {"T": FLOAT, "data_format": "NHWC", "strides": [1, 1, 1, 1], "dilations": [1, 1, 1, 1]}
    outputs = []
    for activation in ACTIVATIONS:
        attributes = options | {
            "fused_ops": _fused(activation),
            "num_args": 1 + (activation == "Prelu"),
            "padding": "SAME",
        }
        alphas = (["alpha3"], ["alpha4"]) if activation == "Prelu" else ([], [])
        if activation == "LeakyRelu":
            attributes["leakyrelu_alpha"] = 0.3
        name = activation.lower() or "bias"
        outputs.append(model.add(f"conv_{name}", "_FusedConv2D", "x", "kernel", "bias3", *alphas[0], **attributes))
        if activation == "LeakyRelu":  # TensorFlow.js 4.22 loses the slope there and answers NaN
            continue
        attributes["padding"] = "VALID"
        outputs.append(
            model.add(
                f"depthwise_{name}", "FusedDepthwiseConv2dNative", "x", "filter", "bias4", *alphas[1], **attributes
            )
        )
    relu = {"fused_ops": ["BiasAdd", "Relu"], "num_args": 1}
    padded = {"padding": "EXPLICIT", "explicit_paddings": [0, 0, 1, 2, 0, 1, 0, 0]}
    outputs += [
        model.add("conv_plain", "_FusedConv2D", "x", "kernel", **options, padding="VALID", num_args=0),
        model.add("conv_wide", "_FusedConv2D", "x", "kernel", "wide_bias", **options, **relu, padding="SAME"),
        model.add("conv_padded", "_FusedConv2D", "x", "kernel", "bias3", **options, **relu, **padded),
        model.add(
            "conv_strided", "_FusedConv2D", "x", "kernel", "bias3",
            **options | relu | {"strides": [1, 2, 2, 1], "padding": "SAME"},
        ),
        model.add(
            "conv_dilated", "_FusedConv2D", "x", "kernel", "bias3",
            **options | relu | {"dilations": [1, 2, 2, 1], "padding": "SAME"},
        ),
        model.add(
            "depthwise_dilated", "FusedDepthwiseConv2dNative", "x", "filter", "bias4",
            **options | relu | {"dilations": [1, 2, 2, 1], "padding": "SAME"},
        ),
        model.add("prelu", "Prelu", "x", model.const("alpha", _normal(1, 1, 2)), T=FLOAT),
        model.add("depthwise_other_name", "DepthwiseConv2d", "x", "filter", **options, padding="SAME"),
    ]  # fmt: skip
    _sign(model, {"x": (-1, 6, 6, 2)}, outputs)
    return model, {"x": _normal(2, 6, 6, 2)}


def products() -> tuple[GraphModel, dict]:
    """Every activation behind a fused matrix product; transposed factors; strings as lists of byte values."""
    model = GraphModel()
    model.placeholder("x", FLOAT, -1, 5)
    model.placeholder("sideways", FLOAT, 5, -1)
    model.const("kernel", _normal(5, 4))
    model.const("turned", _normal(4, 5))
    model.const("bias", _normal(4))
    model.const("scalar", np.float32(0.5))
    model.const("alpha", _normal(4))
    outputs = []
    for activation in ACTIVATIONS:
        arguments = ["alpha"] if activation == "Prelu" else []
        fused = {"list": {"s": [list(text.encode()) for text in _fused(activation)]}}
        outputs.append(
            model.add(
                f"product_{activation.lower() or 'bias'}", "_FusedMatMul", "x", "kernel", "bias", *arguments,
                T=FLOAT, fused_ops=fused, num_args=1 + len(arguments),
            )
        )  # fmt: skip
    outputs += [
        model.add(
            "transposed", "_FusedMatMul", "sideways", "turned", "scalar",
            T=FLOAT, fused_ops=["BiasAdd", "Relu"], num_args=1, transpose_a=True, transpose_b=True,
        ),
        model.add("plain", "_FusedMatMul", "x", "kernel", T=FLOAT, num_args=0),
    ]  # fmt: skip
    _sign(model, {"x": (-1, 5), "sideways": (5, -1)}, outputs)
    return model, {"x": _normal(3, 5), "sideways": _normal(5, 2)}


def in_functions() -> tuple[GraphModel, dict]:
    """The same inside the functions of a loop and of a condition within it, where a source names the output too."""
    model = GraphModel()
    model.placeholder("x", FLOAT, -1, 3)
    model.const("zero", np.int32(0))
    arguments = [{"name": "i", "type": "DT_INT32"}, {"name": "v", "type": FLOAT}]
    results = [{"name": "next_i", "type": "DT_INT32"}, {"name": "next_v", "type": FLOAT}]

    def constant(function: str, name: str, value: np.ndarray) -> dict:
        return model.constant_node(f"{function}/{name}", value)

    body = {
        "signature": {"name": "body", "inputArg": arguments, "outputArg": results},
        "nodeDef": [
            constant("body", "one", np.int32(1)),
            constant("body", "kernel", _normal(3, 3)),
            constant("body", "bias", _normal(3)),
            constant("body", "alpha", _normal(3)),
            node("add", "AddV2", "i", "body/one:output:0", T="DT_INT32"),
            node(
                "fused", "_FusedMatMul", "v", "body/kernel:output:0", "body/bias:output:0", "body/alpha:output:0",
                T=FLOAT, fused_ops=["BiasAdd", "Prelu"], num_args=2,
            ),
            node("bent", "Prelu", "fused:product:0", "body/alpha:output:0", T=FLOAT),
            node("sum", "AddV2", "bent:activations:0", "v", T=FLOAT),
            node("big", "Greater", "i", "body/one:output:0", T="DT_INT32"),
            node(
                "choose", "StatelessIf", "big:z:0", "sum:z:0", Tcond="DT_BOOL", Tin=[FLOAT], Tout=[FLOAT],
                then_branch={"func": {"name": "then"}}, else_branch={"func": {"name": "otherwise"}},
            ),
        ],
        "ret": {"next_i": "add:z:0", "next_v": "choose:output:0"},
    }  # fmt: skip
    branches = [
        {
            "signature": {
                "name": name,
                "inputArg": [{"name": "v", "type": FLOAT}],
                "outputArg": [{"name": "r", "type": FLOAT}],
            },
            "nodeDef": [
                constant(name, "alpha", _normal(3)),
                node("r", "Prelu", "v", f"{name}/alpha:output:0", T=FLOAT),
            ],
            "ret": {"r": "r:activations:0"},
        }
        for name in ("then", "otherwise")
    ]
    condition = {
        "signature": {"name": "cond", "inputArg": arguments, "outputArg": [{"name": "go", "type": "DT_BOOL"}]},
        "nodeDef": [
            constant("cond", "three", np.int32(3)),
            node("less", "Less", "i", "cond/three:output:0", T="DT_INT32"),
        ],
        "ret": {"go": "less:z:0"},
    }
    model.document["modelTopology"]["library"] = {"function": [body, condition, *branches]}
    model.add(
        "loop", "StatelessWhile", "zero", "x",
        T=["DT_INT32", FLOAT], cond={"func": {"name": "cond"}}, body={"func": {"name": "body"}},
        output_shapes={"list": {"shape": [{}, {"dim": [{"size": "-1"}, {"size": "3"}]}]}},
        _lower_using_switch_merge=True,
    )  # fmt: skip
    model.add("y", "Identity", "loop:1", T=FLOAT)
    _sign(model, {"x": (-1, 3)}, ["y"])
    return model, {"x": _normal(2, 3)}


CASES = {"fused_convolutions": convolutions, "fused_products": products, "fused_in_functions": in_functions}
