"""Every setting once: its file key, environment variable, command-line flag, default and unit.

Flags beat the environment, the environment beats the file. The file key is the field's name, the flag is the
field's name with dashes, the environment variable is ``TENSORHOST_`` and the name in capitals, except for the few
names listed in ``_BARE`` that carry no prefix. Reading settings has no side effect.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AliasChoices,
    ByteSize,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from tensorhost.core.errors import InvalidRequestError
from tensorhost.core.ids import is_valid_name

_PREFIX = "TENSORHOST_"
_BARE = frozenset({"host", "port", "model_path", "max_batch_size", "warmup_iterations", "log_level"})

LIST_SEPARATORS = {
    "allowed_batch_sizes": ",",
    "cors_origins": ",",
    "import_modules": ",",
    "saved_model_tags": ",",
    "allowed_roots": ":",
    "custom_op_libraries": ":",
}
"""What stands between the parts of a list that is given as text."""

_ROUTE = r"^(/[A-Za-z0-9._~:/-]*)?$"

LOOPBACK_HOSTS = frozenset({"127.0.0.1", "::1", "localhost"})


def is_loopback(host: str) -> bool:
    """Whether ``host``, a name or an address, stands for this machine only."""
    if host in LOOPBACK_HOSTS:
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def channel_arguments(text: str) -> list[tuple[str, int | str]]:
    """Keys and values of gRPC channel arguments written ``key=value,key=value``; whole numbers become int.

    Raises:
        ValueError: a part is no key=value.
    """
    arguments: list[tuple[str, int | str]] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = part.partition("=")
        if not key or not equals:
            raise ValueError(f"'{part}' is not key=value")
        arguments.append((key, int(value) if re.fullmatch(r"-?\d+", value) else value))
    return arguments


def check_batch_sizes(sizes: Sequence[int], call_rows: int) -> None:
    """Raise ValueError unless the sizes that calls may have, where there are any, rise and end with ``call_rows``."""
    if any(size <= before for before, size in pairwise(sizes)):
        raise ValueError("allowed_batch_sizes must rise")
    if sizes and sizes[-1] != call_rows:
        raise ValueError(
            f"Last entry in allowed_batch_sizes must match max_batch_size; last entry was {sizes[-1]}; expected "
            f"{call_rows}, the most rows of a call"
        )


def environment_variable(field: str) -> str:
    """The environment variable that sets ``field``."""
    return field.upper() if field in _BARE else _PREFIX + field.upper()


def _bare(field: str) -> AliasChoices:
    return AliasChoices(field, field.upper())


class Settings(BaseSettings):
    """All settings, validated. Durations end in ``_s`` or ``_ms``, sizes in ``_bytes``, counts of rows in ``_rows``."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, extra="forbid", frozen=True, validate_default=True)

    host: str = Field("127.0.0.1", validation_alias=_bare("host"), description="Address to listen on.")
    port: int = Field(
        3000, ge=0, le=65535, validation_alias=_bare("port"), description="HTTP port; 0 picks a free one."
    )
    http: bool = Field(True, description="Serve HTTP at all; false leaves gRPC alone.")
    model_path: Path = Field(
        Path("./models"),
        validation_alias=_bare("model_path"),
        description="What to serve: a repository root, one model's folder, or one model file.",
    )
    max_batch_size: int = Field(
        32, ge=1, le=65536, validation_alias=_bare("max_batch_size"), description="Most rows in one model call."
    )
    warmup_iterations: int = Field(
        3,
        ge=0,
        le=1000,
        validation_alias=_bare("warmup_iterations"),
        description="Warm-up runs per batch size; 0 skips warm-up.",
    )
    warmup_records: bool = Field(
        True,
        description="Run the recorded requests that a version ships in assets.extra/tf_serving_warmup_requests before "
        "it serves; one that fails fails the load.",
    )
    warmup_record_iterations: int = Field(1, ge=1, le=1000, description="How often each recorded request is run.")
    request_log_file_size: ByteSize = Field(
        ByteSize(64 * 2**20),
        ge=1024,
        description="A request log begins a new file after this much, or after 1000 records.",
    )
    request_log_files: int = Field(
        16, ge=0, description="How many files of one request log are kept, the newest; 0 keeps all."
    )
    workers: Annotated[int, Field(ge=1, le=256)] | Literal["auto"] = Field(
        1,
        description="Processes that serve, each with its own copy of the models; auto decides by cores and models.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", validation_alias=_bare("log_level"), description="Least severe log records shown."
    )
    log_format: Literal["text", "json"] = Field("text", description="Log lines for people or for machines.")
    access_log: bool = Field(False, description="Log one line per HTTP request and gRPC call.")
    tracing: bool = Field(
        False,
        description="Send OpenTelemetry traces to where the standard OTEL_* variables say; needs the extra otel.",
    )

    grpc_port: int = Field(
        8500, ge=-1, le=65535, description="gRPC port on the same host; 0 for none, -1 picks a free one."
    )
    grpc_socket_path: Path | None = Field(None, description="Unix socket on which gRPC is served as well.")
    grpc_transport: Literal["auto", "native", "grpcio"] = Field(
        "auto",
        description="What carries gRPC: native is fast, grpcio can do everything. auto takes native where it can keep "
        "what the other settings promise: without TLS, and reachable from this machine only or without a limit on "
        "messages.",
    )
    grpc_max_message_bytes: ByteSize | None = Field(
        None,
        ge=0,
        description="Largest gRPC request message; unset for 64MiB, or max_body_bytes where that is more, 0 for no "
        "limit. grpcio refuses a much larger one as it begins; native only once it is in memory, decompressed, so "
        "strangers could exhaust the memory.",
    )
    grpc_stream_requests: int = Field(
        64,
        ge=1,
        le=65536,
        description="Requests of one ModelStreamInfer stream that are worked on at once; more wait on the way.",
    )
    grpc_max_threads: int = Field(
        0,
        ge=0,
        le=1024,
        description="Threads that native uses for gRPC's sockets; 0 for one, or two from eight cores on.",
    )
    grpc_ssl_config_file: Path | None = Field(
        None,
        description="TLS for gRPC from a TensorFlow Serving SSLConfig in text form, instead of tls_certfile's.",
    )
    grpc_channel_arguments: str = Field(
        "", description="gRPC channel arguments of the server: key=value, separated by commas; whole numbers as such."
    )
    grpc_health: bool = Field(True, description="Serve grpc.health.v1, which follows readiness and models.")
    grpc_reflection: bool = Field(True, description="Serve gRPC server reflection, from which clients learn methods.")
    grpc_profiler: bool = Field(
        False,
        description="Serve tensorflow.ProfilerService, which traces TensorFlow in this process for clients that may "
        "control the server.",
    )
    tfserving_method_names: bool = Field(
        False,
        description="Refuse Predict, Classify and Regress where a SavedModel's signature says it was made for another "
        "method. TensorFlow 2 writes predict for all.",
    )
    tfserving_tensor_content: bool = Field(
        False,
        description="Write the tensors of gRPC responses as tensor_content, not as lists such as float_val. Strings "
        "always come as a list.",
    )

    tfserving_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="A second HTTP port, for TensorFlow Serving's REST API alone; 0 for none. The first has it too.",
    )
    tfserving_timeout_ms: float = Field(
        0.0, ge=0, description="Deadline of requests to TensorFlow Serving's REST API; 0 for request_timeout_s."
    )
    tfserving_cors: bool = Field(
        False, description="Let pages of every origin use TensorFlow Serving's REST API, by its own headers."
    )
    tfserving_metrics_path: str = Field(
        "",
        pattern=_ROUTE,
        description="Path at which metrics are served under TensorFlow Serving's names, besides ours, such as "
        "/monitoring/prometheus/metrics; empty for none.",
    )

    oip_shared_memory: bool = Field(
        False,
        description="Let clients of the Open Inference Protocol that may control the server register shared memory of "
        "this machine, through which tensors then go.",
    )
    oip_shared_memory_prefix: str = Field(
        "tensorhost_",
        pattern=r"^[A-Za-z0-9._-]*$",
        description="How the keys of such shared memory must begin; empty for any, also those of other programs.",
    )
    oip_metrics: bool = Field(
        False, description="Serve Triton's nv_inference_* metrics besides ours, in the Prometheus text at /metrics."
    )

    sagemaker: bool = Field(
        False, description="Serve SageMaker's routes /ping and /invocations; serve does where its variables are set."
    )
    sagemaker_multi_model: bool = Field(
        False,
        description="Serve SageMaker's calls below /models as well, by which it loads and unloads models. GET /models "
        "and GET /models/NAME then answer as SageMaker wants them.",
    )
    vertex_health_route: str = Field(
        "", pattern=_ROUTE, description="Path at which Vertex AI asks whether the server is ready; empty for none."
    )
    vertex_predict_route: str = Field(
        "", pattern=_ROUTE, description="Path to which Vertex AI sends its requests; empty for none."
    )
    container_model: str | None = Field(
        None, description="The model that these routes ask where a request names none; unset for the only one."
    )
    container_api: Literal["tfserving", "oip"] = Field(
        "tfserving",
        description="What JSON at these routes is: as TensorFlow Serving's REST API has it, or as the Open Inference "
        "Protocol has it.",
    )

    admin_token: SecretStr | None = Field(
        None,
        description="Bearer token for the control routes. Without one they answer only when bound to loopback.",
    )
    open_control: bool = Field(
        False,
        description="Without an admin token, let everybody who reaches the server control it over gRPC, and load from "
        "any path, as TensorFlow Serving does.",
    )
    allowed_roots: Annotated[tuple[Path, ...], NoDecode] = Field(
        (), description="Folders besides the model path from which a load request may name a path; separated by colons."
    )
    dashboard: bool = Field(
        True, description="Serve the dashboard at / to browsers, and keep what happened in the last hour for it."
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Origins allowed to call from a browser, separated by commas; '*' for any."
    )
    tls_certfile: Path | None = Field(None, description="PEM certificate chain; turns HTTPS on.")
    tls_keyfile: Path | None = Field(None, description="PEM private key of the certificate.")
    tls_client_ca: Path | None = Field(None, description="PEM authorities; clients must then present a certificate.")

    model_name: str | None = Field(
        None,
        description="Serve model_path as one model of this name, whose versions are the folders in it that are named "
        "by whole numbers. Unset: by what lies there.",
    )
    model_config_file: Path | None = Field(
        None,
        description="The models to serve, as TensorFlow Serving's ModelServerConfig in text form, instead of what lies "
        "in model_path.",
    )
    model_config_poll_s: float = Field(
        0.0, ge=0, description="How often model_config_file is read again; 0 reads it once, at the start."
    )
    labels_may_wait: bool = Field(
        False,
        description="Let a new label in a changed model_config_file name a version that does not serve yet; the label "
        "works once it does. Without this the whole change is refused.",
    )
    poll_interval_s: float = Field(
        2.0, ge=0, description="How often the model path is looked at for new and removed versions; 0 turns that off."
    )
    settle_s: float = Field(
        1.0, ge=0, description="How long a version's files must be unchanged before it counts as completely copied."
    )
    version_policy: str = Field(
        "latest:1",
        pattern=r"^(latest(:[1-9]\d*)?|all)$",
        description="Versions of a model to serve unless its model.toml says otherwise: latest, latest:N or all.",
    )
    loading: Literal["eager", "lazy"] = Field(
        "eager", description="Load models at start, or at their first request, unless model.toml says otherwise."
    )
    load_threads: int = Field(1, ge=1, le=16, description="How many versions may load at the same time.")
    load_attempts: int = Field(5, ge=1, description="Attempts, with back-off, at a version that fails to load.")
    load_backoff_s: float = Field(1.0, gt=0, description="Wait before the second attempt; doubled for each later one.")
    load_retry_interval_s: float | None = Field(
        None,
        ge=0,
        description="Wait before each further attempt, always as long; unset to wait longer each time.",
    )
    unload_timeout_s: float = Field(30.0, ge=0, description="How long unloading waits for requests in flight.")
    trust: Literal["standard", "strict"] = Field(
        "standard",
        description="strict refuses models that could do more than compute: touch files, run Python, open sockets.",
    )
    import_modules: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Python modules to import before models are loaded, for the operations and Keras classes they "
        "register, such as tensorflow_text; separated by commas.",
    )
    custom_op_libraries: Annotated[tuple[Path, ...], NoDecode] = Field(
        (), description="Shared libraries with operations for TensorFlow; separated by colons."
    )
    allow_lambda: bool = Field(
        False, description="Run the Python code that Keras files bring along (Lambda layers). Only for your own files."
    )
    saved_model_tags: Annotated[tuple[str, ...], NoDecode] = Field(
        ("serve",),
        min_length=1,
        description="Tags of the graph to serve of a SavedModel that holds several; separated by commas.",
    )
    prefer_tflite: bool = Field(
        False, description="Serve a version's model.tflite where it has one, and not the SavedModel beside it."
    )
    probe: bool = Field(
        True, description="Load and run each model in a child process first, so that one that crashes harms nothing."
    )
    probe_timeout_s: float = Field(300.0, gt=0, description="Longest time a model may take in the child process.")
    probe_memory: ByteSize | None = Field(
        None, gt=0, description="Most bytes a model may take in the child process; unset for what the machine has free."
    )
    runtime: Literal["auto", "native", "tensorflow", "openvino", "litert", "onnxruntime"] | None = Field(
        None,
        description="What executes models: auto for the fastest that computes the same, native for the format's own, "
        "or one by name. Unset: auto where OpenVINO is installed, native elsewhere.",
    )
    precision: Literal["float32", "bf16", "int8"] = Field(
        "float32",
        description="Least precision a runtime may compute with. bf16 and int8 change the answers; the metadata says "
        "by how much.",
    )
    race_timeout_s: float = Field(
        180.0, gt=0, description="Longest time the runtimes may take to race for one version, before it is loaded."
    )
    cache_dir: Path | None = Field(
        None,
        description="Folder that keeps what trying a model has shown, and its compiled forms, for the next start. "
        "Unset: tensorhost in the user's folder for caches.",
    )
    cache_size: ByteSize = Field(
        ByteSize(8 * 2**30), ge=0, description="Most bytes kept there; 0 keeps nothing beyond the server's life."
    )
    memory_budget: ByteSize | None = Field(
        None, gt=0, description="Most bytes that loaded models may take, such as 4GiB; unset for no limit."
    )

    batching: bool = Field(
        True,
        description="Let requests share model calls where a signature passes the proof; false makes each a call of its "
        "own, unless model.toml says otherwise.",
    )
    per_version_batching: bool = Field(
        False,
        description="Batch only versions whose folder has a batching_params.pbtxt (TensorFlow Serving's "
        "BatchingParameters), and as that says.",
    )
    split_large_requests: bool = Field(
        True,
        description="Run requests of more rows than a model call may have in parts; false refuses them where requests "
        "share calls.",
    )
    max_execution_batch_size: int | None = Field(
        None,
        ge=1,
        le=65536,
        description="Most rows in one model call where large requests are split, max_batch_size then being the most "
        "rows of a request; unset for max_batch_size, and requests of any size.",
    )
    allowed_batch_sizes: Annotated[tuple[Annotated[int, Field(ge=1)], ...], NoDecode] = Field(
        (),
        description="Rows that model calls may have: smaller batches are filled up to the next of these sizes, which "
        "rise and end with the most rows of a call; separated by commas. Empty for any.",
    )
    pad_variable_length_inputs: bool = Field(
        False,
        description="Let requests whose rows differ in size share calls: the smaller are filled up with their own "
        "first element. Only for models that such elements mean nothing to.",
    )
    num_batch_threads: int = Field(
        0,
        ge=0,
        le=4096,
        description="Most model calls on threads at once, over all models; 0 for one per signature and version.",
    )
    batch_timeout_ms: float = Field(
        0.0, ge=0, le=60_000, description="How long a batch may be held back to fill up; 0 never waits."
    )
    target_latency_ms: float = Field(
        0.0,
        ge=0,
        le=60_000,
        description="Latency that 99 of 100 requests should meet in the queue and the model; 0 for none.",
    )
    max_queue_rows: int = Field(4096, ge=1, description="Rows that may wait per signature before requests are refused.")
    inline_threshold_ms: float = Field(
        1.0, ge=0, description="Model calls measured faster than this run on the event loop, slower ones on a thread."
    )
    intra_op_threads: int = Field(0, ge=0, description="TensorFlow threads inside one operation; 0 for one per core.")
    inter_op_threads: int = Field(0, ge=0, description="TensorFlow threads across operations; 0 for one per core.")
    session_config_file: Path | None = Field(
        None, description="TensorFlow's ConfigProto in text form, for the sessions that execute models."
    )
    gpu_memory_fraction: float = Field(
        0.0, ge=0, description="Share of a GPU's memory that TensorFlow may take; 0 leaves that to TensorFlow."
    )
    xla: bool = Field(
        False, description="Let TensorFlow compile frozen graphs with XLA, anew at the first call of each shape."
    )

    request_timeout_s: float = Field(0.0, ge=0, description="Deadline of requests that set none; 0 for none.")
    max_in_flight: int = Field(2048, ge=1, description="Inference requests in the engine at once; more are refused.")
    max_connections: int = Field(8192, ge=1, description="Open HTTP connections; more are refused.")
    max_body_bytes: ByteSize = Field(
        ByteSize(32 * 2**20), gt=0, description="Largest request body, before and after decompression."
    )
    max_buffered_body_bytes: ByteSize = Field(
        ByteSize(512 * 2**20),
        gt=0,
        description="Most bytes of unanswered request bodies over all connections; what comes on top is refused.",
    )
    max_header_bytes: ByteSize = Field(ByteSize(32 * 2**10), ge=1024, description="Largest request head.")
    header_timeout_s: float = Field(10.0, gt=0, description="Time a client has to send a request's head.")
    body_timeout_s: float = Field(
        60.0,
        gt=0,
        description="Time to send a body, anew after each 64 KiB per second of it; longest pause reading a response.",
    )
    keep_alive_timeout_s: float = Field(75.0, gt=0, description="How long an idle connection is kept open.")
    max_json_depth: int = Field(64, ge=8, le=512, description="Deepest nesting of a JSON body.")
    max_tensor_elements: int = Field(2**27, ge=1, description="Most elements of one input tensor.")
    compress_min_bytes: ByteSize = Field(
        ByteSize(16 * 2**10),
        ge=0,
        description="Responses at least this large are compressed when the client accepts it.",
    )

    drain_window_s: float = Field(
        1.0, ge=0, description="After SIGTERM: how long requests are still accepted while readiness already says 503."
    )
    shutdown_timeout_s: float = Field(
        30.0, ge=0, description="How long accepted requests may take to finish after that."
    )

    @model_validator(mode="before")
    @classmethod
    def _split_lists(cls, data: Any) -> Any:
        if isinstance(data, dict):
            for field, separator in LIST_SEPARATORS.items():
                if isinstance(data.get(field), str):
                    data[field] = tuple(part.strip() for part in data[field].split(separator) if part.strip())
        return data

    @field_validator("model_name", "container_model")
    @classmethod
    def _is_a_name(cls, value: str | None) -> str | None:
        if value is not None and not is_valid_name(value):
            raise ValueError("must be 1 to 128 letters, digits, '.', '_' or '-'")
        return value

    @field_validator("allowed_batch_sizes")
    @classmethod
    def _sizes_fit(cls, value: tuple[int, ...], others: ValidationInfo) -> tuple[int, ...]:
        known = others.data
        if {"max_batch_size", "split_large_requests", "max_execution_batch_size"} <= known.keys():
            part = known["max_execution_batch_size"] if known["split_large_requests"] else None
            check_batch_sizes(value, part or known["max_batch_size"])
        return value

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        if (self.tls_certfile is None) != (self.tls_keyfile is None):
            raise ValueError("tls_certfile and tls_keyfile go together")
        if self.tls_client_ca is not None and self.tls_certfile is None:
            raise ValueError("tls_client_ca needs tls_certfile and tls_keyfile")
        return self

    @model_validator(mode="after")
    def _ports_fit(self) -> Self:
        try:
            channel_arguments(self.grpc_channel_arguments)
        except ValueError as error:
            raise ValueError(f"grpc_channel_arguments: {error}") from error
        if self.tfserving_port and self.tfserving_port in (self.port, self.grpc_port):
            raise ValueError("tfserving_port is the port of something else")
        if not self.http and self.grpc_port == 0 and self.grpc_socket_path is None:
            raise ValueError("http, grpc_port and grpc_socket_path are all off: there is nothing to serve")
        return self

    def to_json(self) -> str:
        """All values, the secret ones included, for ``from_json`` in a process of ours."""
        values = self.model_dump(mode="json")
        if self.admin_token is not None:
            values["admin_token"] = self.admin_token.get_secret_value()
        return json.dumps(values)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The settings that ``to_json`` wrote, whatever the environment says."""
        return cls(**json.loads(text))

    @property
    def grpc_arguments(self) -> list[tuple[str, int | str]]:
        """``grpc_channel_arguments``, taken apart."""
        return channel_arguments(self.grpc_channel_arguments)

    @property
    def has_container_routes(self) -> bool:
        """Whether routes of a cloud are served."""
        return bool(
            self.sagemaker or self.sagemaker_multi_model or self.vertex_health_route or self.vertex_predict_route
        )

    @property
    def http_ports(self) -> list[int]:
        """The ports on which HTTP is served, the main one first."""
        return [self.port, self.tfserving_port] if self.tfserving_port else [self.port]

    @property
    def served_from(self) -> Path:
        """The file or folder that says which models there are."""
        return self.model_config_file or self.model_path

    @property
    def bound_to_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        return is_loopback(self.host)


def setting_fields() -> dict[str, FieldInfo]:
    """Every setting by file key, in the order of the reference."""
    return dict(Settings.model_fields)


def load_settings(
    config_file: Path | None = None, *, defaults: Mapping[str, Any] | None = None, **flags: Any
) -> Settings:
    """Settings from flags, then the environment, then ``config_file`` (TOML), then defaults.

    Args:
        config_file: a TOML file whose keys are the settings' names.
        defaults: in the place of some settings' own.
        flags: values given on the command line; None means not given.

    Raises:
        InvalidRequestError: a value is invalid or a key unknown; the message names each.
    """
    values = dict(defaults or {})
    if config_file is not None:
        try:
            values |= tomllib.loads(config_file.read_text(encoding="utf-8"))
        except OSError as error:
            raise InvalidRequestError(f"Cannot read the settings file {config_file}: {error.strerror}.") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InvalidRequestError(f"The settings file {config_file} is not valid TOML: {error}.") from error
    try:
        from_environment = Settings().model_fields_set
        merged = {key: value for key, value in values.items() if key not in from_environment}
        merged |= {key: value for key, value in flags.items() if value is not None}
        return Settings(**merged)
    except ValidationError as error:
        problems = "; ".join(": ".join(filter(None, (_place(item["loc"]), item["msg"]))) for item in error.errors())
        wrong = [str(item["loc"][0]) for item in error.errors() if item["loc"]]
        raise InvalidRequestError(f"Invalid settings: {problems}", details={"settings": wrong}) from error


def _place(location: tuple[int | str, ...]) -> str:
    """Which setting, and which part of it; empty where several settings do not go together."""
    return ".".join(map(str, location))
