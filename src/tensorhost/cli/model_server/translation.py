"""From TensorFlow Serving's flags to the settings of this server. Pure: files have been read, nothing is looked at.

What must stay true: every flag that takes effect is in exactly one rule, and a rule sets the settings it names and no
others (tests compare all three tables). Settings that follow from flags on the command line beat the environment;
those that follow from defaults do not, so that ``TENSORHOST_POLL_INTERVAL_S`` means something here, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tensorhost.cli.model_server.flags import FLAGS
from tensorhost.cli.model_server.parsing import FlagValues
from tensorhost.core.errors import InvalidRequestError
from tensorhost.models import batching_parameters

Messages = Mapping[str, Any]
"""What was read from the files that flags name, by flag."""

_IMAGE_MODEL, _IMAGE_FOLDER = "model", "/models"
"""What TensorFlow Serving's image has in MODEL_NAME and MODEL_BASE_PATH."""

_MOST_LOAD_THREADS, _MOST_GRPC_THREADS = 16, 1024
"""Of the settings. TensorFlow Serving takes any number, which says what may be, not what must: more mean these."""


@dataclass(frozen=True, slots=True)
class Translation:
    """What a command line means here.

    Attributes:
        chosen: settings that beat the environment.
        defaults: settings that hold unless the environment says otherwise.
        notes: for the log, by flag: what a flag without effect means here.
        problem: for the log: what was asked for and left out; empty for nothing.
    """

    chosen: dict[str, Any] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """The settings that follow from some flags together.

    Attributes:
        decides: each of the flags, and the settings that it has the most to say in.
        apply: those settings.
    """

    decides: Mapping[str, tuple[str, ...]]
    apply: Callable[[FlagValues, Messages], dict[str, Any]]

    @property
    def settings(self) -> tuple[str, ...]:
        """All that it may set."""
        return tuple(dict.fromkeys(setting for settings in self.decides.values() for setting in settings))


FIXED: Mapping[str, Any] = {
    "host": "0.0.0.0",  # noqa: S104 - TensorFlow Serving answers every interface; HOST=127.0.0.1 changes it
    "open_control": True,
    "grpc_max_message_bytes": 0,
    "max_body_bytes": 2**31 - 1,
    "max_buffered_body_bytes": 2**32,
}
"""What TensorFlow Serving has no flag for, and does otherwise than the defaults of tensorhost."""


def translate(values: FlagValues, messages: Messages) -> Translation:
    """What ``values`` mean.

    Args:
        values: the flags.
        messages: the contents of the files they name, see ``files.py``.

    Raises:
        InvalidRequestError: flags that contradict each other, or a value that means nothing.
    """
    _check(values)
    result = Translation(defaults=dict(FIXED), problem=_problem(values))
    for rule in RULES:
        given = values.is_given(*rule.decides)
        (result.chosen if given else result.defaults).update(rule.apply(values, messages))
    result.notes.update({name: flag.instead for name, flag in FLAGS.items() if flag.instead and values.is_given(name)})
    return result


def with_image_environment(values: FlagValues, environment: Mapping[str, str]) -> FlagValues:
    """``values``; where no flag says what to serve, with the model that TensorFlow Serving's image would serve."""
    if values.text("model_base_path") or values.text("model_config_file"):
        return values
    if not environment.keys() & {"MODEL_NAME", "MODEL_BASE_PATH"}:
        return values
    name = environment.get("MODEL_NAME") or _IMAGE_MODEL
    if values.is_given("model_name"):
        name = values.text("model_name")
    folder = environment.get("MODEL_BASE_PATH") or _IMAGE_FOLDER
    return values.with_values(model_name=name, model_base_path=f"{folder.rstrip('/')}/{name}")


def flags_of(setting: str) -> tuple[str, ...]:
    """The flags that decide a setting."""
    return next((tuple(rule.decides) for rule in RULES if setting in rule.settings), ())


def settings_of(flag: str) -> tuple[str, ...]:
    """The settings that a flag decides."""
    return next((rule.decides[flag] for rule in RULES if flag in rule.decides), ())


def _check(values: FlagValues) -> None:
    if not values.text("model_base_path") and not values.text("model_config_file"):
        raise InvalidRequestError(
            "Both --model_base_path and --model_config_file are empty: there is nothing to serve."
        )
    if not (values.number("port") or values.text("grpc_socket_path") or values.number("rest_api_port")):
        raise InvalidRequestError("One of --port, --grpc_socket_path and --rest_api_port has to say where to listen.")
    if values.text("batching_parameters_file") and not values.flag("enable_batching"):
        raise InvalidRequestError("--batching_parameters_file is set without --enable_batching.")
    threads = ("session_parallelism", "intra_op_parallelism", "inter_op_parallelism")
    if all(values.number(f"tensorflow_{name}") for name in threads):
        raise InvalidRequestError(
            "--tensorflow_session_parallelism sets both --tensorflow_intra_op_parallelism and "
            "--tensorflow_inter_op_parallelism; leave it out, or one of these."
        )
    if values.text("mixed_precision") not in ("", "bfloat16"):
        raise InvalidRequestError("--mixed_precision can only be bfloat16.")


def _problem(values: FlagValues) -> str:
    port = values.number("rest_api_port")
    if port and port == values.number("port"):
        return "--rest_api_port is the same as --port, so there is no HTTP; give it a port of its own"
    return ""


# -- the rules -----------------------------------------------------------------------------------------------------


def _renamed(flag: str, setting: str, convert: Callable[[Any], Any] = lambda value: value) -> Rule:
    """One flag that is one setting."""
    return Rule({flag: (setting,)}, lambda values, _messages: {setting: convert(values.values[flag])})


def _http(values: FlagValues, _messages: Messages) -> dict[str, Any]:
    port = values.number("rest_api_port")
    wanted = port != 0 and port != values.number("port")
    return {"http": wanted, "port": port} if wanted else {"http": False}


def _models(values: FlagValues, _messages: Messages) -> dict[str, Any]:
    if file := values.text("model_config_file"):
        return {"model_config_file": file}
    return {"model_name": values.text("model_name"), "model_path": values.text("model_base_path")}


def _batching(values: FlagValues, messages: Messages) -> dict[str, Any]:
    if not values.flag("enable_batching"):
        # Their default is off since their batching is not safe for every model. Ours is proved, or left out.
        return {"batching": False} if values.is_given("enable_batching") else {}
    only_with_file = values.flag("enable_per_model_batching_parameters")
    parameters = batching_parameters.batching_settings(messages.get("batching_parameters_file"))
    return {"batching": True, "per_version_batching": only_with_file, **parameters}


def _threads(values: FlagValues, _messages: Messages) -> dict[str, Any]:
    both = values.number("tensorflow_session_parallelism")
    return {
        "intra_op_threads": values.number("tensorflow_intra_op_parallelism") or both,
        "inter_op_threads": values.number("tensorflow_inter_op_parallelism") or both,
    }


def _load_threads(values: FlagValues, _messages: Messages) -> dict[str, Any]:
    count = values.number("num_load_threads")
    return {"load_threads": min(count, _MOST_LOAD_THREADS)} if count else {}


def _metrics(_values: FlagValues, messages: Messages) -> dict[str, Any]:
    path = ""
    if message := messages.get("monitoring_config_file"):
        config = message.prometheus_config
        path = config.path or "/monitoring/prometheus/metrics" if config.enable else ""
    return {"tfserving_metrics_path": path}


def _precision(values: FlagValues, _messages: Messages) -> dict[str, Any]:
    return {"precision": "bf16"} if values.text("mixed_precision") else {}


def _grpc_threads(values: FlagValues, _messages: Messages) -> dict[str, Any]:
    # Its default is four per core, which is right for threads that run models and too many for threads that move bytes.
    if not values.is_given("grpc_max_threads"):
        return {}
    return {"grpc_max_threads": min(values.number("grpc_max_threads"), _MOST_GRPC_THREADS)}


RULES = (
    _renamed("port", "grpc_port"),
    _renamed("grpc_socket_path", "grpc_socket_path", lambda path: path or None),
    Rule({"rest_api_port": ("http", "port")}, _http),
    _renamed("rest_api_timeout_in_ms", "tfserving_timeout_ms"),
    _renamed("rest_api_enable_cors_support", "tfserving_cors"),
    Rule(
        {
            "enable_batching": ("batching",),
            "batching_parameters_file": batching_parameters.SETTINGS,
            "enable_per_model_batching_parameters": ("per_version_batching",),
        },
        _batching,
    ),
    _renamed("allow_version_labels_for_unavailable_models", "labels_may_wait"),
    Rule(
        {
            "model_config_file": ("model_config_file",),
            "model_name": ("model_name",),
            "model_base_path": ("model_path",),
        },
        _models,
    ),
    _renamed("model_config_file_poll_wait_seconds", "model_config_poll_s", lambda seconds: max(seconds, 0)),
    Rule({"num_load_threads": ("load_threads",)}, _load_threads),
    _renamed("max_num_load_retries", "load_attempts", lambda retries: retries + 1),
    _renamed("load_retry_interval_micros", "load_retry_interval_s", lambda micros: micros / 1e6),
    _renamed("file_system_poll_wait_seconds", "poll_interval_s", lambda seconds: max(seconds, 0)),
    Rule(
        {
            "tensorflow_session_parallelism": ("intra_op_threads", "inter_op_threads"),
            "tensorflow_intra_op_parallelism": ("intra_op_threads",),
            "tensorflow_inter_op_parallelism": ("inter_op_threads",),
        },
        _threads,
    ),
    _renamed("tensorflow_session_config_file", "session_config_file", lambda path: path or None),
    _renamed("ssl_config_file", "grpc_ssl_config_file", lambda path: path or None),
    _renamed("per_process_gpu_memory_fraction", "gpu_memory_fraction"),
    _renamed("saved_model_tags", "saved_model_tags"),
    _renamed("grpc_channel_arguments", "grpc_channel_arguments"),
    Rule({"grpc_max_threads": ("grpc_max_threads",)}, _grpc_threads),
    _renamed("enable_model_warmup", "warmup_records"),
    _renamed("num_request_iterations_for_warmup", "warmup_record_iterations", lambda count: max(count, 1)),
    Rule({"monitoring_config_file": ("tfserving_metrics_path",)}, _metrics),
    _renamed("prefer_tflite_model", "prefer_tflite"),
    _renamed("enable_signature_method_name_check", "tfserving_method_names"),
    _renamed("enable_profiler", "grpc_profiler"),
    Rule({"mixed_precision": ("precision",)}, _precision),
    _renamed("enable_grpc_healthcheck_service", "grpc_health"),
    _renamed("enable_serialization_as_tensor_content", "tfserving_tensor_content"),
    _renamed("import", "import_modules"),
    _renamed("custom_op_library", "custom_op_libraries"),
)
