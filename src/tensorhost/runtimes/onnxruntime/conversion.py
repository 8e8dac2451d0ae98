"""Writing a frozen TensorFlow graph as an ONNX file, by the package tf2onnx."""

from __future__ import annotations

import importlib
import logging
import tempfile
from pathlib import Path
from typing import Any

from tensorhost.core.errors import UnsupportedModelError
from tensorhost.runtimes.engine_files import EngineFile
from tensorhost.runtimes.noise import standard_error_into

_OPSET = 18
_LONGEST_REASON = 300


def write_from_graph(graph: Path, names: EngineFile, folder: Path, file: str) -> EngineFile:
    """Write the frozen graph in the file ``graph`` as ONNX. Takes from seconds to a minute. Needs TensorFlow imported.

    Args:
        graph: a GraphDef.
        names: its tensors, by the names of the signature.
        folder, file: where to.

    Raises UnsupportedModelError where ONNX has no such operation.
    """
    from tensorflow.core.framework import graph_pb2

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    graph_def = graph_pb2.GraphDef()
    graph_def.ParseFromString(graph.read_bytes())
    try:
        graph_def = _without_calls(graph_def, [*names.inputs.values(), *names.outputs.values()])
        with tempfile.TemporaryFile() as said, standard_error_into(said):
            importlib.import_module("tf2onnx").convert.from_graph_def(
                graph_def,
                input_names=list(names.inputs.values()),
                output_names=list(names.outputs.values()),
                opset=_OPSET,
                output_path=str(folder / file),
            )
    except Exception as error:  # the border of an attempt: the converter raises anything
        line = next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason given")
        raise UnsupportedModelError(
            f"The model cannot be written as ONNX: {line[:_LONGEST_REASON]}", log_detail=str(error)
        ) from error
    return EngineFile(file, names.inputs, names.outputs)


def _without_calls(graph_def: Any, tensors: list[str]) -> Any:
    """The graph with functions put in the place of their calls, which the converter cannot read; loops stay."""
    import tensorflow as tf
    from tensorflow.core.protobuf import config_pb2, meta_graph_pb2, rewriter_config_pb2
    from tensorflow.python.grappler import tf_optimizer

    with tf.Graph().as_default() as graph:
        tf.import_graph_def(graph_def, name="")
        meta_graph = tf.compat.v1.train.export_meta_graph(graph_def=graph.as_graph_def(), graph=graph)
    kept = meta_graph_pb2.CollectionDef()
    kept.node_list.value.extend(tensors)
    meta_graph.collection_def["train_op"].CopyFrom(kept)
    config = config_pb2.ConfigProto()
    rewriting = config.graph_options.rewrite_options
    rewriting.min_graph_nodes = -1
    rewriting.optimizers.append("function")
    rewriting.function_optimization = rewriter_config_pb2.RewriterConfig.AGGRESSIVE
    return tf_optimizer.OptimizeGraph(config, meta_graph)
