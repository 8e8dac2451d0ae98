"""Models of many ordinary operations each, one output for every operation."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from graph_tracing import trace
from tfjs_graph_models import GraphModel

RANDOM = np.random.default_rng()  # seeded for each case by graph_models
RAW = tf.raw_ops


def _x(*sizes: int) -> np.ndarray:
    return RANDOM.normal(size=sizes).astype(np.float32)


def vision() -> tuple[GraphModel, dict]:
    """Convolutions as they come, pooling, normalisation, resizing, padding, boxes."""
    kernel, filters, volume, turned = (_x(3, 3, 2, 3), _x(3, 3, 2, 1), _x(2, 2, 2, 2, 2), _x(2, 2, 2, 2))
    scale, offset, mean, variance = _x(2), _x(2), _x(2), np.abs(_x(2))
    boxes = np.array([[0.1, 0.1, 0.8, 0.9], [0.0, 0.2, 0.5, 0.6]], np.float32)
    rivals = np.array([[0, 0, 1, 1], [0, 0.05, 1, 1.05], [0, 2, 1, 3], [0, 2.1, 1, 3.1]], np.float32)
    scores = np.array([0.9, 0.75, 0.6, 0.95], np.float32)

    def function(x: tf.Tensor) -> dict:
        cube = tf.reshape(x, (-1, 4, 4, 2, 2))
        normal = {
            "scale": scale,
            "offset": offset,
            "mean": mean,
            "variance": variance,
            "epsilon": 0.01,
            "is_training": False,
        }
        rows = tf.shape(x)[0]
        chosen = RAW.NonMaxSuppressionV5(
            boxes=rivals, scores=scores, max_output_size=3, iou_threshold=0.5, score_threshold=0.1, soft_nms_sigma=0.0
        )
        padded = RAW.NonMaxSuppressionV4(
            boxes=rivals,
            scores=scores,
            max_output_size=3,
            iou_threshold=0.5,
            score_threshold=0.1,
            pad_to_max_output_size=True,
        )
        return {
            "conv": tf.nn.conv2d(x, kernel, [1, 2, 1, 1], "SAME"),
            "conv_same": tf.nn.conv2d(x, kernel, 1, "VALID", dilations=1),
            "pointwise": tf.nn.conv2d(x, kernel[:1, :1], 1, "VALID"),
            "pointwise_strided": tf.nn.conv2d(x, kernel[:1, :1], 2, "VALID"),
            "depthwise": tf.nn.depthwise_conv2d(x, filters, [1, 1, 1, 1], "SAME"),
            "transposed": tf.nn.conv2d_transpose(x, turned, tf.stack([rows, 8, 8, 2]), 2, "SAME"),
            "conv3d": tf.nn.conv3d(cube, volume, [1, 1, 1, 1, 1], "SAME"),
            "max_pool": tf.nn.max_pool2d(x, 2, 2, "VALID"),
            "avg_pool": tf.nn.avg_pool2d(x, 3, 1, "SAME"),
            "max_pool3d": tf.nn.max_pool3d(cube, 2, 2, "SAME"),
            "avg_pool3d": tf.nn.avg_pool3d(cube, 2, 1, "VALID"),
            "batch_norm": RAW.FusedBatchNormV3(x=x, **normal)[0],
            "local_norm": tf.nn.local_response_normalization(x, 1, 0.5, 0.7, 0.6),
            "dilation": tf.nn.dilation2d(x, filters[..., 0], (1, 1, 1, 1), "SAME", "NHWC", (1, 1, 1, 1)),
            "bilinear": RAW.ResizeBilinear(images=x, size=[7, 3], half_pixel_centers=True),
            "bilinear_aligned": RAW.ResizeBilinear(images=x, size=[7, 5], align_corners=True),
            "nearest": RAW.ResizeNearestNeighbor(images=x, size=[6, 3]),
            "crop": RAW.CropAndResize(image=x, boxes=boxes, box_ind=[0, 1], crop_size=[3, 3]),
            "padded": tf.pad(x, [[0, 0], [1, 0], [0, 2], [0, 0]], constant_values=2.0),
            "mirrored": tf.pad(x, [[0, 0], [1, 1], [2, 0], [0, 0]], "REFLECT"),
            "to_depth": tf.nn.depth_to_space(tf.tile(x, (1, 1, 1, 2)), 2),
            "to_batch": tf.space_to_batch(x, [2, 2], [[0, 0], [0, 0]]),
            "from_batch": RAW.BatchToSpaceND(
                input=tf.tile(x, (4, 1, 1, 1)), block_shape=[2, 2], crops=[[0, 1], [0, 0]]
            ),
            "chosen": chosen.selected_indices,
            "chosen_scores": chosen.selected_scores,
            "kept": padded.selected_indices,
            "kept_count": padded.valid_outputs,
        }

    return trace(function, {"x": tf.TensorSpec((None, 4, 4, 2), tf.float32)}), {"x": _x(2, 4, 4, 2)}


def numbers() -> tuple[GraphModel, dict]:
    """Arithmetic, mathematics, comparison and reduction."""

    def function(x: tf.Tensor, y: tf.Tensor, n: tf.Tensor) -> dict:
        positive = tf.abs(x) + 0.1
        small = tf.tanh(x) * 0.9
        one = {
            "abs": tf.abs, "ceil": tf.math.ceil, "cos": tf.cos, "cosh": tf.cosh, "elu": tf.nn.elu, "erf": tf.math.erf,
            "exp": tf.exp, "expm1": tf.math.expm1, "floor": tf.floor, "neg": tf.negative, "relu6": tf.nn.relu6,
            "round": tf.round, "selu": tf.nn.selu, "sigmoid": tf.sigmoid, "sign": tf.sign, "sin": tf.sin,
            "sinh": tf.sinh, "softplus": tf.nn.softplus, "square": tf.square, "tan": tf.tan, "tanh": tf.tanh,
            "atan": tf.atan, "asinh": tf.asinh, "finite": tf.math.is_finite, "leaky": tf.nn.leaky_relu,
            "softmax": tf.nn.softmax, "log_softmax": tf.nn.log_softmax,
        }  # fmt: skip
        above = {"log": tf.math.log, "log1p": tf.math.log1p, "rsqrt": tf.math.rsqrt, "sqrt": tf.sqrt,
                 "reciprocal": tf.math.reciprocal}  # fmt: skip
        within = {"acos": tf.acos, "asin": tf.asin, "atanh": tf.atanh}
        two = {
            "add": tf.add, "div_no_nan": tf.math.divide_no_nan, "real_div": tf.divide, "maximum": tf.maximum,
            "minimum": tf.minimum, "mul": tf.multiply, "sub": tf.subtract, "difference": tf.math.squared_difference,
            "floor_div": tf.math.floordiv, "floor_mod": tf.math.floormod, "atan2": tf.atan2, "equal": tf.equal,
            "greater": tf.greater, "less_equal": tf.less_equal, "not_equal": tf.not_equal,
        }  # fmt: skip
        reduced = {
            "sum": tf.reduce_sum, "mean": tf.reduce_mean, "max": tf.reduce_max, "min": tf.reduce_min,
            "prod": tf.reduce_prod, "cumsum": tf.cumsum, "cumprod": tf.math.cumprod,
            "arg_max": lambda t, axis: tf.argmax(t, axis, tf.int32), "norm": tf.math.reduce_euclidean_norm,
        }  # fmt: skip
        return {
            **{name: call(x) for name, call in one.items()},
            **{name: call(positive) for name, call in above.items()},
            **{name: call(small) for name, call in within.items()},
            **{name: call(x, y) for name, call in two.items()},
            **{name: call(x, axis=1) for name, call in reduced.items()},
            "power": tf.pow(positive, y),
            "clipped": tf.clip_by_value(x, -0.5, 0.5),
            "added": tf.add_n([x, y, x]),
            "all": tf.reduce_all(x > -9.0, 0),
            "any": tf.reduce_any(x > 0.5, 1, keepdims=True),
            "both": tf.logical_and(x > 0.0, tf.logical_not(tf.logical_or(y > 0.0, x > 1.0))),
            "whole_mod": tf.math.floormod(n, 4),
            "whole_div": tf.math.floordiv(n, 4),
            "cast": tf.cast(x * 3.0, tf.int32),
            "cast_back": tf.cast(n, tf.float32),
        }

    specs = {"x": tf.TensorSpec((None, 4), tf.float32), "y": tf.TensorSpec((None, 4), tf.float32)}
    specs["n"] = tf.TensorSpec((None,), tf.int32)
    values = {"x": _x(2, 4), "y": _x(2, 4), "n": np.array([-7, -1, 0, 5, 22], np.int32)}
    return trace(function, specs), values


def shapes() -> tuple[GraphModel, dict]:
    """Cutting, joining, picking, sorting, scattering; matrices."""

    def function(x: tf.Tensor, i: tf.Tensor) -> dict:
        top = tf.math.top_k(x, 2)
        first, second = tf.split(x, [1, 3], 1)
        unique = tf.unique(i)
        return {
            "gather": tf.gather(x, i, axis=1),
            "gather_nd": tf.gather_nd(x, [[0, 1], [1, 3]]),
            "joined": tf.concat([x, -x], 0),
            "strided": x[::-1, 1:4:2],
            "ellipsis": x[..., tf.newaxis, 2],
            "sliced": tf.slice(x, [0, 1], [-1, 2]),
            "top": top.values,
            "top_indices": top.indices,
            "where": tf.cast(tf.where(x > 0.0), tf.int32),
            "select": tf.where(x > 0.0, x, tf.zeros_like(x)),
            "select_1": RAW.Select(condition=x > 0.5, x=x, y=tf.ones_like(x)),
            "one_hot": tf.one_hot(i, 5, 2.0, -1.0),
            "tiled": tf.tile(x, [2, 1]),
            "packed": tf.stack([x, x * 2.0], 1),
            "unpacked": tf.unstack(x, axis=1, num=4)[2],
            "split": first,
            "split_rest": second,
            "halves": tf.split(x, 2, 1)[1],
            "scattered": tf.scatter_nd([[3], [1]], tf.constant([5.0, 6.0]), [5]),
            "updated": tf.tensor_scatter_nd_update(x + 0.5, [[0]], [[1.0, 2.0, 3.0, 4.0]]),
            "dense": RAW.SparseToDense(
                sparse_indices=[[1], [3]], output_shape=[5], sparse_values=[2.0, 4.0], default_value=1.0
            ),
            "reversed": tf.reverse(x, [1]),
            "transposed": tf.transpose(x),
            "squeezed": tf.squeeze(tf.expand_dims(x, 0), 0),
            "broadcast": tf.broadcast_to(x[:1], [3, 4]),
            "filled": tf.fill([2, 2], 0.25),
            "range": tf.range(1.0, 4.0, 0.5),
            "line": tf.linspace(0.0, 1.0, 5),
            "shape": tf.shape(x),
            "size": tf.size(x),
            "rank": tf.rank(x),
            "unique": unique.y,
            "unique_index": unique.idx,
            "difference": RAW.ListDiff(x=i, y=[1, 3])[0],
            "product": tf.matmul(x, x, transpose_b=True),
            "products": tf.matmul(tf.reshape(x, [2, 2, 2]), tf.reshape(x, [2, 2, 2]), transpose_a=True),
            "einsum": tf.einsum("ij,kj->ik", x, x),
            "band": tf.linalg.band_part(tf.matmul(x, x, transpose_a=True), 1, 1),
            "counts": RAW.Bincount(arr=i, size=5, weights=tf.constant([], tf.float32)),
            "lower": RAW.LowerBound(sorted_inputs=[[1.0, 2.0, 2.0, 4.0]], values=[[2.0, 3.0]]),
            "upper": RAW.UpperBound(sorted_inputs=[[1.0, 2.0, 2.0, 4.0]], values=[[2.0, 3.0]]),
            "spectrum": tf.abs(tf.signal.fft(tf.complex(x, -x))),
            "real_spectrum": tf.math.imag(tf.signal.rfft(x)),
        }

    specs = {"x": tf.TensorSpec((2, 4), tf.float32), "i": tf.TensorSpec((None,), tf.int32)}
    return trace(function, specs), {"x": _x(2, 4), "i": np.array([3, 0, 3, 1], np.int32)}


def sparse() -> tuple[GraphModel, dict]:
    """Sparse operations."""

    def function(x: tf.Tensor) -> dict:
        indices, values = tf.constant([[0, 1], [2, 0]], tf.int64), tf.constant([3.0, 4.0])
        filled = RAW.SparseFillEmptyRows(
            indices=indices, values=values, dense_shape=tf.constant([4, 2], tf.int64), default_value=-1.0
        )
        reshaped = RAW.SparseReshape(
            input_indices=indices, input_shape=tf.constant([4, 2], tf.int64), new_shape=tf.constant([2, -1], tf.int64)
        )
        segments = {"data": x, "indices": [0, 2, 1], "segment_ids": [0, 0, 1]}
        return {
            "filled": tf.cast(filled.output_indices, tf.int32),
            "filled_values": filled.output_values,
            "empty": filled.empty_row_indicator,
            "reshaped": tf.cast(reshaped.output_indices, tf.int32),
            "segment_mean": RAW.SparseSegmentMean(**segments),
            "segment_sum": RAW.SparseSegmentSum(**segments),
        }

    return trace(function, {"x": tf.TensorSpec((3, 2), tf.float32)}), {"x": _x(3, 2)}


CASES = {"vision": vision, "numbers": numbers, "shapes": shapes, "sparse": sparse}
