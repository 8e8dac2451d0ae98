"""What the operator decides about all SavedModels: which graph is served, and how sessions are made."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from tensorhost.core.errors import MisconfiguredModelError, ModelFailedError, UnsupportedModelError
from tensorhost.runtimes import examine, load
from tensorhost.runtimes.openvino.loader import load_saved_model as load_by_openvino
from tensorhost.runtimes.tensorflow.process import DEFAULT_EXECUTOR, SINGLE_THREADED, session_config

IN_CHILD = """
import json, sys
from tensorhost.runtimes import LoadOptions, prepare
prepare(LoadOptions(**json.loads(sys.argv[1])))
import tensorflow
from tensorflow.python.eager import context
print(context.context().config.gpu_options.per_process_gpu_memory_fraction, tensorflow.executing_eagerly())
"""


@pytest.fixture(scope="session")
def tagged(tf, tmp_path_factory):
    """One model, several graphs: the factor of ``x`` tells which is served."""
    v1 = tf.compat.v1
    folder = tmp_path_factory.mktemp("tagged") / "1"
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None], name="x")
        weight = v1.get_variable("weight", initializer=2.0)
        session.run(v1.global_variables_initializer())

        def signatures(factor):
            info = v1.saved_model.utils.build_tensor_info
            inputs, outputs = {"x": info(x)}, {"y": info(x * weight * factor)}
            return {
                "serving_default": v1.saved_model.signature_def_utils.build_signature_def(inputs, outputs, "predict")
            }

        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(session, ["train"], signature_def_map=signatures(1.0))
        builder.add_meta_graph(["serve", "gpu"], signature_def_map=signatures(2.0))
        builder.add_meta_graph(["serve"], signature_def_map=signatures(3.0))
        builder.add_meta_graph(["serve", "tpu", "v2"], signature_def_map=signatures(4.0))
        builder.save()
    return folder


@pytest.mark.parametrize(
    ("tags", "factor"),
    [
        (("serve",), 6.0),
        (("serve", "gpu"), 4.0),
        (("gpu", "serve"), 4.0),
        (("train",), 2.0),
        (("tpu",), 8.0),
    ],
)
def test_the_graph_with_the_tags_asked_for_is_served(tagged, options, tags, factor):
    chosen = replace(options, tags=tags)
    runtime = load(tagged, chosen)
    try:
        assert runtime.run("serving_default", {"x": np.float32([1.0])})["y"].tolist() == [factor]
    finally:
        runtime.close()
    assert examine(tagged, chosen).operations


def test_tags_that_no_graph_has_are_told_with_those_there_are(tagged, options):
    with pytest.raises(ModelFailedError) as failed:
        load(tagged, replace(options, tags=("serve", "edge")))
    assert failed.value.message == (
        "None of the model's 4 graphs is tagged 'serve, edge'; their tags are: "
        "train; gpu, serve; serve; serve, tpu, v2."
    )


def test_the_only_graph_is_served_whatever_its_tags(models, options):
    load(models / next(folder.name for folder in sorted(models.iterdir())), replace(options, tags=("edge",))).close()


def test_openvino_alone_cannot_choose(tagged, options):
    with pytest.raises(UnsupportedModelError, match="only the graph tagged 'serve'"):
        load_by_openvino(tagged, replace(options, tags=("train",)))


def test_every_session_begins_with_the_operators_config(options):
    text = "inter_op_parallelism_threads: 3 operation_timeout_in_ms: 1234 graph_options { timeline_step: 7 }"
    chosen = replace(options, session_config=text, intra_op_threads=2, inter_op_threads=0)
    for executor in (DEFAULT_EXECUTOR, SINGLE_THREADED):
        config = session_config(chosen, executor)
        assert config.operation_timeout_in_ms == 1234
        assert config.graph_options.timeline_step == 7
        assert config.inter_op_parallelism_threads == 3
        assert config.intra_op_parallelism_threads == 2
        assert config.experimental.executor_type == executor
        assert config.graph_options.rewrite_options.min_graph_nodes == -1
    explicit = session_config(replace(chosen, inter_op_threads=5), DEFAULT_EXECUTOR)
    assert explicit.inter_op_parallelism_threads == 5


def test_a_model_computes_the_same_under_such_a_config(tagged, options):
    runtime = load(tagged, replace(options, session_config="allow_soft_placement: false isolate_session_state: true"))
    assert runtime.run("serving_default", {"x": np.float32([1.0])})["y"].tolist() == [6.0]
    runtime.close()


def test_a_config_that_this_tensorflow_does_not_know(tagged, options):
    with pytest.raises(MisconfiguredModelError, match=r"session_config_file is no ConfigProto .*no field named"):
        load(tagged, replace(options, session_config="no_such_field: 1"))


@pytest.mark.parametrize(
    "chosen",
    [
        {"session_config": "gpu_options { per_process_gpu_memory_fraction: 0.25 }"},
        {"session_config": "gpu_options { per_process_gpu_memory_fraction: 0.9 }", "gpu_memory_fraction": 0.25},
    ],
)
def test_the_gpus_share_holds_for_the_whole_process(chosen):
    """Whoever uses the GPU first decides what TensorFlow takes of it, and that is not a session."""
    line = [sys.executable, "-c", IN_CHILD, json.dumps(chosen)]
    said = subprocess.run(line, capture_output=True, text=True, timeout=100, check=True).stdout
    assert said.split() == ["0.25", "True"]
