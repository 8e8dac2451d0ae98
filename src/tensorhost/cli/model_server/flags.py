"""The flags of ``tensorflow_model_server`` as data: name, type, default, and what each means here.

Parsing, the usage text and the table in the documentation are made from this table, and ``translation.py`` says which
settings follow. Names, types and defaults are TensorFlow Serving's, except for those of ``OURS``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import Enum

FlagValue = int | float | bool | str | tuple[str, ...]


class Kind(Enum):
    """The type of a flag's value, by TensorFlow's name for it."""

    INT32 = "int32"
    INT64 = "int64"
    FLOAT = "float"
    BOOL = "bool"
    STRING = "string"
    STRINGS = "string, may be repeated"


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag.

    Attributes:
        name: without the dashes.
        kind: its type.
        default: what holds when it is not given, and the environment says nothing either.
        meaning: what it does here, for the usage text and the table.
        instead: what there is here in the place of what it does in TensorFlow Serving; a flag that has this changes
            nothing, and is answered with this line in the log.
        default_text: the default in words, where its value depends on the machine.
    """

    name: str
    kind: Kind
    default: FlagValue
    meaning: str
    instead: str = ""
    default_text: str = ""

    @property
    def takes_effect(self) -> bool:
        """Whether anything differs for it."""
        return not self.instead

    @property
    def shown_default(self) -> str:
        """The default as it would be written behind the ``=``, or in words; empty for an empty text."""
        if self.default_text:
            return self.default_text
        if isinstance(self.default, bool):
            return str(self.default).lower()
        return (
            f"{self.default:g}" if isinstance(self.default, float) else str(self.default if self.default != () else "")
        )


_CPUS = os.cpu_count() or 1

OURS = (
    Flag(
        "import",
        Kind.STRINGS,
        (),
        "Python module to import before models are loaded, for the operations it registers, such as tensorflow_text.",
    ),
    Flag("custom_op_library", Kind.STRINGS, (), "Shared library with operations for TensorFlow."),
)
"""What TensorFlow Serving has no flag for, and a model with operations of its own needs."""

THEIRS = (
    Flag("port", Kind.INT32, 8500, "TCP port of gRPC; 0 for none."),
    Flag("grpc_socket_path", Kind.STRING, "", "Unix socket on which gRPC listens as well."),
    Flag(
        "rest_api_port",
        Kind.INT32,
        0,
        "TCP port of HTTP: REST, health, metrics and dashboard; 0 for none. The same as --port: an error in the log, "
        "and no HTTP.",
    ),
    Flag(
        "rest_api_num_threads",
        Kind.INT32,
        4 * _CPUS,
        "Threads that answer REST.",
        "one event loop answers HTTP, and models run on threads of their own; TENSORHOST_WORKERS sets how many "
        "processes serve",
        default_text="4 per core",
    ),
    Flag("rest_api_timeout_in_ms", Kind.INT32, 30_000, "Time a REST request may take; 0 for no limit."),
    Flag("rest_api_enable_cors_support", Kind.BOOL, False, "CORS headers on REST responses."),
    Flag(
        "enable_batching",
        Kind.BOOL,
        False,
        "Batching with TensorFlow Serving's parameters. Not given: tensorhost's own, for signatures that pass "
        "the proof at warm-up. false: none.",
    ),
    Flag(
        "allow_version_labels_for_unavailable_models",
        Kind.BOOL,
        False,
        "Whether a label that is new may name a version that does not serve yet.",
    ),
    Flag(
        "batching_parameters_file",
        Kind.STRING,
        "",
        "BatchingParameters, as text. Without --enable_batching the server does not start.",
    ),
    Flag(
        "enable_per_model_batching_parameters",
        Kind.BOOL,
        False,
        "With --enable_batching: batch only versions that have a batching_params.pbtxt, as it says.",
    ),
    Flag(
        "model_config_file",
        Kind.STRING,
        "",
        "ModelServerConfig, as text; --model_name and --model_base_path then mean nothing.",
    ),
    Flag(
        "model_config_file_poll_wait_seconds",
        Kind.INT32,
        0,
        "How often that file is read again; 0 for once.",
    ),
    Flag("model_name", Kind.STRING, "default", "Name of the one model."),
    Flag("model_base_path", Kind.STRING, "", "Folder of the one model; its subfolders are the versions."),
    Flag("num_load_threads", Kind.INT32, 0, "How many versions may load at the same time, at most 16; 0 for one."),
    Flag(
        "num_unload_threads",
        Kind.INT32,
        0,
        "Threads that unload.",
        "unloading holds up nothing, and needs no threads set aside for it",
    ),
    Flag("max_num_load_retries", Kind.INT32, 5, "Further attempts at a version that failed to load."),
    Flag("load_retry_interval_micros", Kind.INT64, 60_000_000, "Wait before each of them, in microseconds."),
    Flag(
        "file_system_poll_wait_seconds",
        Kind.INT32,
        1,
        "How often base paths are looked at for versions; 0 or less for once.",
    ),
    Flag(
        "flush_filesystem_caches",
        Kind.BOOL,
        True,
        "Whether file caches are dropped after loading.",
        "nothing is kept in file caches of TensorFlow's own",
    ),
    Flag(
        "tensorflow_session_parallelism",
        Kind.INT64,
        0,
        "Threads inside one operation and across operations; 0 for one per core. Together with the next two, the "
        "server does not start.",
    ),
    Flag("tensorflow_intra_op_parallelism", Kind.INT64, 0, "Threads inside one operation; 0 for one per core."),
    Flag("tensorflow_inter_op_parallelism", Kind.INT64, 0, "Threads across operations; 0 for one per core."),
    Flag(
        "tensorflow_session_config_file",
        Kind.STRING,
        "",
        "tensorflow.ConfigProto, as text, for models run by TensorFlow.",
    ),
    Flag(
        "use_alts_credentials",
        Kind.BOOL,
        False,
        "Google's ALTS on gRPC.",
        "there is no ALTS, so gRPC is as open as without this; --ssl_config_file turns TLS on",
    ),
    Flag("ssl_config_file", Kind.STRING, "", "SSLConfig, as text: TLS, and mutual TLS, on gRPC."),
    Flag(
        "platform_config_file",
        Kind.STRING,
        "",
        "PlatformConfigMap, as text.",
        "there are no platforms to configure; batching and sessions are as the other flags say",
    ),
    Flag(
        "per_process_gpu_memory_fraction",
        Kind.FLOAT,
        0.0,
        "Share of the GPU's memory for TensorFlow; 0 for its own choice.",
    ),
    Flag("saved_model_tags", Kind.STRING, "serve", "Tags of the graph to load from a SavedModel, separated by commas."),
    Flag(
        "grpc_channel_arguments",
        Kind.STRING,
        "",
        "Arguments for the gRPC library, as name=value,name=value. Where the fast transport has no word for one, "
        "grpcio serves.",
    ),
    Flag(
        "grpc_max_threads",
        Kind.INT32,
        4 * _CPUS,
        "Threads that move what goes over gRPC. Models do not run on them, so few are enough.",
        default_text="1, or 2 from eight cores on",
    ),
    Flag(
        "enable_model_warmup",
        Kind.BOOL,
        True,
        "Whether a version's warm-up records are run before it serves. Runs with made-up inputs are WARMUP_ITERATIONS.",
    ),
    Flag("num_request_iterations_for_warmup", Kind.INT32, 0, "How often each of them is run; 0 for once."),
    Flag("version", Kind.BOOL, False, "Print the versions, and end."),
    Flag(
        "monitoring_config_file",
        Kind.STRING,
        "",
        "MonitoringConfig, as text: whether and where REST has metrics for Prometheus.",
    ),
    Flag(
        "remove_unused_fields_from_bundle_metagraph",
        Kind.BOOL,
        True,
        "Whether only signatures are kept in memory.",
        "only signatures are kept in memory, always",
    ),
    Flag(
        "prefer_tflite_model",
        Kind.BOOL,
        False,
        "Whether model.tflite is loaded from a version that has it beside a SavedModel.",
    ),
    Flag(
        "num_tflite_pools",
        Kind.INT32,
        _CPUS,
        "Pools of TensorFlow Lite interpreters.",
        "a pool of interpreters grows as far as calls at the same time need it",
        default_text="one per core",
    ),
    Flag(
        "num_tflite_interpreters_per_pool",
        Kind.INT32,
        1,
        "Interpreters in a pool.",
        "a pool of interpreters grows as far as calls at the same time need it",
    ),
    Flag(
        "enable_signature_method_name_check",
        Kind.BOOL,
        False,
        "Whether Classify and Regress refuse signatures whose method name is another's.",
    ),
    Flag(
        "xla_cpu_compilation_enabled",
        Kind.BOOL,
        False,
        "Whether models may be compiled with XLA on CPUs.",
        "models that ask for XLA are always compiled; TENSORHOST_XLA=true compiles the others too",
    ),
    Flag(
        "xla_gpu_compilation_enabled",
        Kind.BOOL,
        False,
        "Whether models may be compiled with XLA on GPUs.",
        "models that ask for XLA are always compiled; TENSORHOST_XLA=true compiles the others too",
    ),
    Flag("enable_profiler", Kind.BOOL, True, "ProfilerService on gRPC, forwarded to TensorFlow's profiler."),
    Flag(
        "thread_pool_factory_config_file",
        Kind.STRING,
        "",
        "ThreadPoolConfig, as text.",
        "thread pools cannot be replaced; --tensorflow_intra_op_parallelism and --tensorflow_inter_op_parallelism say "
        "how large they are",
    ),
    Flag(
        "mixed_precision",
        Kind.STRING,
        "",
        "bfloat16 lets a runtime compute with it; answers change by as much as the metadata says.",
    ),
    Flag("skip_initialize_tpu", Kind.BOOL, False, "Whether TPUs are left alone.", "TPUs are left alone, always"),
    Flag(
        "enable_grpc_healthcheck_service",
        Kind.BOOL,
        False,
        "grpc.health.v1 on gRPC; it follows the state of the models.",
    ),
    Flag(
        "enable_serialization_as_tensor_content",
        Kind.BOOL,
        False,
        "Whether outputs are sent as tensor_content, which is faster, instead of as float_val and its kin.",
    ),
)
"""In the order of TensorFlow Serving's usage text."""

FLAGS = {flag.name: flag for flag in (*THEIRS, *OURS)}


def default_values() -> dict[str, FlagValue]:
    """Every flag's value when none is given."""
    return {name: flag.default for name, flag in FLAGS.items()}
