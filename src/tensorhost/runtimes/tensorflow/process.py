"""TensorFlow as one per process: imported once, quietly, with its global thread pools started by the right thread.

TensorFlow creates its two thread pools (inside one operation, across operations) at first use and keeps them for
the life of the process, with the sizes asked for then and the priority of the thread that asked. What must stay
true: nothing else in this package imports TensorFlow first.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tensorhost.core.errors import MisconfiguredModelError, RuntimeMissingError
from tensorhost.runtimes.base import LoadOptions
from tensorhost.runtimes.cores import threads_within_quota
from tensorhost.runtimes.noise import without_noise
from tensorhost.runtimes.tensorflow.extensions import register_extensions

SINGLE_THREADED = "SINGLE_THREADED_EXECUTOR"
DEFAULT_EXECUTOR = ""

_lock = threading.Lock()
_prepared = threading.Event()
_ordinary = ThreadPoolExecutor(1, thread_name_prefix="tensorflow sessions")


def prepare(options: LoadOptions) -> None:
    """Import TensorFlow, start its thread pools with the sizes in ``options``, add the operator's extensions.

    Only the first call does anything, but for extensions that were not there before.

    Models load in a thread of low priority, and the pools' threads would inherit that for ever if they were born
    there. So a server calls this once from an ordinary thread before it starts loading. ``load`` calls it too, for
    programs that do not care. It takes as long as importing TensorFlow, 2 to 3 seconds.

    Raises:
        RuntimeMissingError: TensorFlow is not installed.
        MisconfiguredModelError: a module or library that the operator named is missing or fails.
    """
    _prepare_once(options)
    register_extensions(sys.modules["tensorflow"], options)


def _prepare_once(options: LoadOptions) -> None:
    with _lock:
        if _prepared.is_set():
            return
        tf = _import_quietly()
        _share_gpu(tf, options)
        with contextlib.suppress(RuntimeError):  # the host program has used TensorFlow already: its pools stand
            tf.config.threading.set_intra_op_parallelism_threads(threads_within_quota(options.intra_op_threads))
            tf.config.threading.set_inter_op_parallelism_threads(threads_within_quota(options.inter_op_threads))
        # Functions, called only where no Session serves, come without our rewrite of the graphs that crash
        # TensorFlow 2.21; without this pass they do not crash. Sessions have their own configuration.
        tf.config.optimizer.set_experimental_options({"remapping": False})
        tf.constant(0)
        # Starts the thread here and now, with the priority of the caller.
        _ordinary.submit(int).result()
        # Of float16, since the first graph with any makes TensorFlow print that this processor has no fast kernels
        # for it. That is printed once in a process, so here, held back, and never when a model loads.
        with without_noise():
            for executor in (DEFAULT_EXECUTOR, SINGLE_THREADED):
                _run_once(tf, session_config(options, executor))
        _prepared.set()


def _share_gpu(tf: Any, options: LoadOptions) -> None:
    """Keep to the operator's share of the GPU. Whoever comes first decides for the whole process.

    That is TensorFlow's eager context, which takes a configuration by a private function only.
    """
    gpu_options = _operators_config(tf.compat.v1.ConfigProto, options).gpu_options
    if gpu_options.ByteSize():
        ops = importlib.import_module("tensorflow.python.framework.ops")
        with contextlib.suppress(ValueError, AttributeError):  # used by the host program already; another TensorFlow
            ops.enable_eager_execution_internal(config=tf.compat.v1.ConfigProto(gpu_options=gpu_options))


def _operators_config(config_type: Any, options: LoadOptions) -> Any:
    """The ConfigProto that the operator wants. Raises MisconfiguredModelError."""
    from google.protobuf import text_format

    try:
        config = text_format.Parse(options.session_config, config_type())
    except text_format.ParseError as error:
        raise MisconfiguredModelError(f"session_config_file is no ConfigProto of this TensorFlow: {error}.") from error
    if options.gpu_memory_fraction:
        config.gpu_options.per_process_gpu_memory_fraction = options.gpu_memory_fraction
    return config


def tensorflow(options: LoadOptions) -> Any:
    """The ``tensorflow`` module, prepared, with the extensions in ``options``. Raises what ``prepare`` raises."""
    prepare(options)
    return sys.modules["tensorflow"]


def new_session(tf: Any, graph: Any, config: Any) -> Any:
    """A Session whose threads have ordinary priority, whoever asks. Call ``prepare`` first.

    A session starts its threads when it is made, and threads inherit the priority of the thread that starts them.
    """
    return _ordinary.submit(tf.compat.v1.Session, graph=graph, config=config).result()


def session_config(options: LoadOptions, executor: str, *, frugal: bool = False) -> Any:
    """The ConfigProto of every session.

    Args:
        options: thread counts.
        executor: SINGLE_THREADED or DEFAULT_EXECUTOR.
        frugal: keep one copy of the weights less (3 instead of 4) at the price of some 30 microseconds a call.
    """
    config_pb2 = importlib.import_module("tensorflow.core.protobuf.config_pb2")
    config = _operators_config(config_pb2.ConfigProto, options)
    if options.intra_op_threads or not config.intra_op_parallelism_threads:
        config.intra_op_parallelism_threads = threads_within_quota(options.intra_op_threads)
    if options.inter_op_threads or not config.inter_op_parallelism_threads:
        config.inter_op_parallelism_threads = threads_within_quota(options.inter_op_threads)
    config.allow_soft_placement = True
    config.experimental.executor_type = executor
    config.experimental.disable_output_partition_graphs = True
    # By default graphs under four nodes go unoptimised, and the function call left in one costs it a thread hop.
    config.graph_options.rewrite_options.min_graph_nodes = -1
    if not options.remapping:
        rewriter_config_pb2 = importlib.import_module("tensorflow.core.protobuf.rewriter_config_pb2")
        config.graph_options.rewrite_options.remapping = rewriter_config_pb2.RewriterConfig.OFF
    config.graph_options.place_pruned_graph = frugal
    if options.xla:
        config.graph_options.optimizer_options.global_jit_level = config_pb2.OptimizerOptions.ON_2
        # Otherwise only devices that have no other way get compiled clusters.
        config.graph_options.optimizer_options.cpu_global_jit = True
    return config


def stop_optimising(config: Any) -> None:
    """Have sessions of this ConfigProto run the graph as it is.

    Calls of functions are replaced by what they do, as ever: a function that is called is optimised by itself.
    """
    config_pb2 = importlib.import_module("tensorflow.core.protobuf.config_pb2")
    config.graph_options.rewrite_options.optimizers.append("function")
    config.graph_options.optimizer_options.opt_level = config_pb2.OptimizerOptions.L0


def _run_once(tf: Any, config: Any) -> None:
    with tf.Graph().as_default(), tf.compat.v1.Session(config=config) as session:
        session.run(tf.identity(tf.constant(0, tf.float16)))


def _import_quietly() -> Any:
    if importlib.util.find_spec("tensorflow") is None:
        raise RuntimeMissingError("This model needs TensorFlow: pip install 'tensorhost[tensorflow]'.")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # Every session gets threads of its own, as many as its model is best served with; otherwise the first session of
    # the process decides for all. Read by TensorFlow once.
    os.environ.setdefault("TF_OVERRIDE_GLOBAL_THREADPOOL", "1")
    with _without_keras(), without_noise():
        tf = importlib.import_module("tensorflow")
    tf.get_logger().setLevel("ERROR")  # deprecation warnings about calls that have no successor
    return tf


@contextlib.contextmanager
def _without_keras() -> Iterator[None]:
    """Keep ``import tensorflow`` from importing Keras: 0.9 s and 80 MB that a SavedModel has no use for.

    TensorFlow tries the package of legacy Keras instead, fails, and goes on; afterwards ``tf.keras`` is Keras 3 as
    ever, imported when it is first used. Does nothing where legacy Keras is installed or the user has chosen.
    """
    variable = "TF_USE_LEGACY_KERAS"
    if variable in os.environ or importlib.util.find_spec("tf_keras") is not None:
        yield
        return
    os.environ[variable] = "1"
    try:
        yield
    finally:
        os.environ.pop(variable, None)
