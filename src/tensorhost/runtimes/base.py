"""What every way of executing a model offers to the rooms above."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple, Protocol

from tensorhost.core.dtypes import DType
from tensorhost.core.errors import InvalidInputShapeError
from tensorhost.core.signatures import Signature
from tensorhost.core.tensors import Array, Tensors

SERVE_TAG = "serve"
"""The tag of graphs that are meant for serving."""


class ModelFormat(StrEnum):
    """How a model lies on disk, told by content."""

    SAVED_MODEL = "saved_model"
    KERAS = "keras"
    KERAS_H5 = "keras_h5"
    TFJS = "tfjs"
    TFLITE = "tflite"
    GRAPH_DEF = "graph_def"


class Trust(StrEnum):
    """How far models are trusted. ``strict`` refuses a model that could do more than compute."""

    STANDARD = "standard"
    STRICT = "strict"


class RuntimeName(StrEnum):
    """What executes a model, as the operator asks for it and as the metadata says."""

    AUTO = "auto"
    """The fastest that computes the same."""
    NATIVE = "native"
    """The format's own: LiteRT for TensorFlow Lite files, TensorFlow for all others."""
    TENSORFLOW = "tensorflow"
    OPENVINO = "openvino"
    LITERT = "litert"
    ONNXRUNTIME = "onnxruntime"

    @classmethod
    def native_of(cls, model_format: ModelFormat) -> RuntimeName:
        """The runtime of a format."""
        return cls.LITERT if model_format is ModelFormat.TFLITE else cls.TENSORFLOW


class Precision(StrEnum):
    """With how many bits a model may compute. Less than float32 changes its answers and is the operator's choice."""

    FLOAT32 = "float32"
    BF16 = "bf16"
    INT8 = "int8"


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """What the operator may choose about loading; never a client's request.

    Attributes:
        intra_op_threads, inter_op_threads: 0 means one per core.
        modules: Python modules the operator has imported before any model is loaded, for the operations, layers and
            functions that they register.
        model_modules: the same, named by the model's own settings.
        op_libraries: shared libraries with operations for TensorFlow.
        allow_lambda: let Keras run the Python code that a file brings along.
        trust: whether a model with findings is loaded.
        graph_inputs, graph_outputs: of a frozen graph, which does not say: public name to tensor name. Empty to find
            them by looking at the graph.
        dequantize: quantised inputs and outputs of a TensorFlow Lite model become float32.
        remapping: let TensorFlow fuse operations. Off for a model that crashes with it.
        xla: let TensorFlow compile each frozen graph with XLA, anew for each shape of input.
        runtime: who may execute the model. Whoever it is, loading it means loading it in its format's own runtime,
            where that is installed; what others execute was made from that before.
        precision: the least precision the operator accepts.
        tags: which graph of a SavedModel with several is served.
        session_config: a ConfigProto in text form, the beginning of every session's; empty for TensorFlow's defaults.
        gpu_memory_fraction: share of a GPU's memory that TensorFlow may take; 0 for what it takes by itself.
    """

    intra_op_threads: int = 0
    inter_op_threads: int = 0
    modules: tuple[str, ...] = ()
    model_modules: tuple[str, ...] = ()
    op_libraries: tuple[Path, ...] = ()
    allow_lambda: bool = False
    trust: Trust = Trust.STANDARD
    graph_inputs: Mapping[str, str] = field(default_factory=dict)
    graph_outputs: Mapping[str, str] = field(default_factory=dict)
    dequantize: bool = False
    remapping: bool = True
    xla: bool = False
    runtime: RuntimeName = RuntimeName.NATIVE
    precision: Precision = Precision.FLOAT32
    tags: tuple[str, ...] = (SERVE_TAG,)
    session_config: str = ""
    gpu_memory_fraction: float = 0.0


class ExampleFeature(NamedTuple):
    """A feature that a model parses out of serialized Examples: its name, and how many values it has of which type.

    The type is float32, int64 or string.
    """

    name: str
    dtype: DType
    size: int


class Runtime(Protocol):
    """One loaded version, ready to run.

    ``run`` may be called from any thread and from several at once. It trusts its arguments: names, dtypes and
    shapes were checked against the signature by the caller.
    """

    @property
    def name(self) -> str:
        """What executes the model, such as ``tensorflow``."""

    @property
    def signatures(self) -> Mapping[str, Signature]:
        """Every signature a client may call, the default one first."""

    @property
    def weights_bytes(self) -> int:
        """Bytes of the model's parameters."""

    @property
    def refused_signatures(self) -> Mapping[str, str]:
        """Signatures the model has but no client may call, by name, with the reason."""

    def call_path(self, signature: str) -> str:
        """How this signature is called, for the metadata, such as ``frozen graph, single-threaded session``."""

    def example_features(self, signature: str) -> Sequence[ExampleFeature]:
        """What is parsed out of the strings that a signature takes; empty where that is nothing, or not known."""

    def tune(self, signature: str, samples: Sequence[Tensors]) -> None:
        """Measure the ways this runtime has of calling a signature, and use the best for inputs of each size.

        Called before the version serves, with nothing else running. Without it the runtime's default is used.

        Args:
            signature: one of ``signatures``.
            samples: inputs as they will come, the fewest rows first.
        """

    def run(self, signature: str, inputs: Tensors) -> dict[str, Array]:
        """One call: arrays in, arrays out, by the names of the signature.

        Strings are object arrays of bytes. The arrays returned are read-only and never share memory with the
        arguments; they may share it with the model, and stay valid after ``close``.

        Raises:
            InvalidRequestError: the model itself refused the values it was given.
            OutOfMemoryError: the call does not fit in memory.
            ModelFailedError: any other failure.
        The message is fit for a client; ``log_detail`` has the rest.
        """

    def run_loosely(self, signature: str, inputs: Tensors) -> dict[str, Array]:
        """One call with shapes that the signature may not admit; slower than ``run``.

        Names and dtypes were checked by the caller, shapes are the runtime's to check: no shape may crash it. Whoever
        takes none but the declared shapes refuses the others. Otherwise like ``run``.

        Raises:
            InvalidInputShapeError, InvalidRequestError: the runtime or the model does not take these shapes.
        """

    def close(self) -> None:
        """Let go of everything. No call may be running or follow."""


class LoadedModel:
    """What every runtime tells of the model it has loaded; see ``Runtime``. It executes nothing itself."""

    def __init__(self, signatures: Mapping[str, Signature], refused: Mapping[str, str], weights_bytes: int) -> None:
        self._signatures = dict(signatures)
        self._refused = dict(refused)
        self._weights_bytes = weights_bytes

    @property
    def signatures(self) -> Mapping[str, Signature]:
        """Every signature a client may call, the default one first."""
        return self._signatures

    @property
    def refused_signatures(self) -> Mapping[str, str]:
        """Signatures left out, with the reason."""
        return self._refused

    @property
    def weights_bytes(self) -> int:
        """Bytes of the model's parameters."""
        return self._weights_bytes

    def example_features(self, signature: str) -> Sequence[ExampleFeature]:
        """Nothing is known; see ``Runtime.example_features``."""
        del signature  # all alike
        return ()

    def run_loosely(self, signature: str, inputs: Tensors) -> dict[str, Array]:
        """Refuse whatever came, for runtimes that take none but the declared shapes; see ``Runtime.run_loosely``."""
        raise shapes_error(self._signatures[signature], inputs)


def shapes_error(signature: Signature, inputs: Tensors) -> InvalidInputShapeError:
    """What is wrong with the shapes of inputs that ``Runtime.run`` must not be given."""
    for name, spec in signature.inputs.items():
        if not spec.admits(inputs[name].shape):
            return spec.shape_error(inputs[name].shape)
    sizes = {name: inputs[name].shape[0] for name, spec in signature.inputs.items() if spec.is_batchable}
    listed = ", ".join(f"'{name}' has {size}" for name, size in sizes.items())
    return InvalidInputShapeError(f"The inputs differ in rows: {listed}.", details={"rows": sizes})


class SignatureCall(Protocol):
    """One signature, ready to call."""

    @property
    def signature(self) -> Signature:
        """What is called."""

    def __call__(self, inputs: Tensors) -> dict[str, Array]:
        """One call; see ``Runtime.run``."""


class CalledModel(LoadedModel):
    """A loaded model with one way of calling each signature, and so nothing to tune. See ``Runtime``.

    Args:
        name: what executes it.
        calls: by signature, the default one first.
        refused: signatures left out, with the reason.
        weights_bytes: bytes of the parameters.
        path: how signatures are called, for the metadata.
    """

    def __init__(
        self,
        name: str,
        calls: Sequence[SignatureCall],
        refused: Mapping[str, str],
        weights_bytes: int,
        path: str,
    ) -> None:
        super().__init__({call.signature.name: call.signature for call in calls}, refused, weights_bytes)
        self.name = name
        self._calls = {call.signature.name: call for call in calls}
        self._path = path

    def call_path(self, signature: str) -> str:
        """How this signature is called."""
        del signature  # all alike
        return self._path

    def tune(self, signature: str, samples: Sequence[Tensors]) -> None:
        """Nothing to choose."""

    def run(self, signature: str, inputs: Tensors) -> dict[str, Array]:
        """One call; see ``Runtime.run``."""
        return self._calls[signature](inputs)

    def close(self) -> None:
        """Drop what is called. No call may be running or follow."""
        self._calls.clear()


class Loader(Protocol):
    """Reads one format."""

    def __call__(self, path: Path, options: LoadOptions) -> Runtime:
        """Load the model at ``path``; blocks for as long as that takes.

        Raises ModelFailedError when the files are no model this runtime can execute, RuntimeMissingError when
        the package is not installed, OutOfMemoryError when it does not fit.
        """
