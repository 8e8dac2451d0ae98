"""What one call of a model costs, by the way TensorFlow is called.

Numpy arrays in, numpy arrays out, one thread, ways interleaved round by round so that a busy machine hurts all alike;
the median of the rounds counts. ``--save`` writes ``results/call_paths.json``, which docs/decisions/0002 quotes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from tensorhost.core.tensors import aligned_empty
from tensorhost.runtimes import LoadOptions, load, prepare

OPTIONS = LoadOptions(intra_op_threads=1, inter_op_threads=1)
RESULTS = Path(__file__).parent / "results" / "call_paths.json"


def build_models(tf, root):
    """Write a tiny model, a 784-512-256-10 MLP and a small CNN as SavedModels; their input shapes by name."""
    rng = np.random.default_rng(0)

    def weight(*shape):
        return tf.Variable((rng.normal(size=shape) / np.sqrt(np.prod(shape[:-1]))).astype(np.float32))

    def save(name, shape, module, function):
        spec = tf.TensorSpec([None, *shape], tf.float32, name="x")
        call = tf.function(lambda x: {"y": function(x)}, input_signature=[spec])
        tf.saved_model.save(module, str(root / name), signatures={"serving_default": call})
        return shape

    tiny, mlp, cnn = tf.Module(), tf.Module(), tf.Module()
    tiny.w = [tf.Variable(0.5), tf.Variable(2.0)]
    mlp.w = [weight(784, 512), weight(512, 256), weight(256, 10)]
    cnn.w = [weight(3, 3, 1, 16), weight(3, 3, 16, 32), weight(800, 10)]

    def run_cnn(x):
        x = tf.nn.max_pool2d(tf.nn.relu(tf.nn.conv2d(x, cnn.w[0], 1, "VALID")), 2, 2, "VALID")
        x = tf.nn.max_pool2d(tf.nn.relu(tf.nn.conv2d(x, cnn.w[1], 1, "VALID")), 2, 2, "VALID")
        return tf.nn.softmax(tf.reshape(x, [-1, 800]) @ cnn.w[2])

    return {
        "tiny": save("tiny", (1,), tiny, lambda x: x * tiny.w[0] + tiny.w[1]),
        "mlp": save("mlp", (784,), mlp, lambda x: tf.nn.relu(tf.nn.relu(x @ mlp.w[0]) @ mlp.w[1]) @ mlp.w[2]),
        "cnn": save("cnn", (28, 28, 1), cnn, run_cnn),
    }


def ways_to_call(tf, path):
    """Each way to call the model at ``path``: name to a function of one array; also what must be kept and closed."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    loaded = tf.saved_model.load(str(path))
    signature = loaded.signatures["serving_default"]
    frozen = convert_variables_to_constants_v2(signature)
    session = tf.compat.v1.Session(graph=tf.Graph(), config=session_config(tf))
    with session.graph.as_default():
        meta_graph = tf.compat.v1.saved_model.load(session, ["serve"], str(path))
    definition = meta_graph.signature_def["serving_default"]
    fetch, feed = definition.outputs["y"].name, definition.inputs["x"].name
    made = session.make_callable(fetch, feed_list=[session.graph.get_tensor_by_name(feed)])
    runtime = load(path, OPTIONS)
    ways = {
        "signature call": lambda x: signature(x=tf.constant(x))["y"].numpy(),
        "frozen function": lambda x: frozen(tf.constant(x))[0].numpy(),
        "Session.run": lambda x: session.run(fetch, {feed: x}),
        "Session.make_callable": made,
        "prepared, single-threaded, frozen": runtime._calls["serving_default"]._run,
        "tensorhost Runtime.run": lambda x: runtime.run("serving_default", {"x": x})["y"],
    }
    return ways, (loaded, session, runtime)


def session_config(tf):
    return tf.compat.v1.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)


def measure(ways, x, rounds, seconds_per_turn):
    """Median microseconds a call, by way."""
    turns = {}
    for name, call in ways.items():
        for _ in range(20):
            call(x)
        started = time.perf_counter()
        for _ in range(5):
            call(x)
        turns[name] = max(5, int(seconds_per_turn / ((time.perf_counter() - started) / 5)))
    samples = {name: [] for name in ways}
    for _ in range(rounds):
        for name, call in ways.items():
            started = time.perf_counter()
            for _ in range(turns[name]):
                call(x)
            samples[name].append((time.perf_counter() - started) / turns[name] * 1e6)
    return {name: round(statistics.median(values), 1) for name, values in samples.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--save", action="store_true", help="write the results beside this file")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--turn-seconds", type=float, default=0.03)
    arguments = parser.parse_args()
    prepare(OPTIONS)
    import tensorflow as tf

    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for model, shape in build_models(tf, Path(folder)).items():
            ways, kept = ways_to_call(tf, Path(folder) / model)
            for rows in (1, 32):
                x = aligned_empty((rows, *shape), np.dtype(np.float32))
                x[...] = np.random.default_rng(1).normal(size=x.shape)
                results[f"{model}, {rows} rows"] = measure(ways, x, arguments.rounds, arguments.turn_seconds)
                print(f"{model}, {rows} rows", results[f"{model}, {rows} rows"])
            kept[1].close()
            kept[2].close()
    if arguments.save:
        machine = {"cpus": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
        report = {"unit": "microseconds a call, median", "tensorflow": tf.__version__, **machine, "results": results}
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
