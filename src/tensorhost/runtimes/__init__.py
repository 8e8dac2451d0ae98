"""One module per way of executing a model. TensorFlow and its kin are imported here only, and only when needed."""

from tensorhost.runtimes.base import Loader, LoadOptions, ModelFormat, Runtime
from tensorhost.runtimes.contents import Contents, Finding, FindingKind
from tensorhost.runtimes.examination import examine, refuse_untrusted
from tensorhost.runtimes.formats import detect_format, load, locate_model, missing_files
from tensorhost.runtimes.tensorflow.process import prepare

__all__ = [
    "Contents",
    "Finding",
    "FindingKind",
    "LoadOptions",
    "Loader",
    "ModelFormat",
    "Runtime",
    "detect_format",
    "examine",
    "load",
    "locate_model",
    "missing_files",
    "prepare",
    "refuse_untrusted",
]
