"""The engine that carries a request from named tensors to named tensors."""

from tensorhost.inference.admission import Admission, as_tensorhost_error, code_of
from tensorhost.inference.engine import InferenceEngine
from tensorhost.inference.group import Alone, Group
from tensorhost.models.servable import Call

__all__ = ["Admission", "Alone", "Call", "Group", "InferenceEngine", "as_tensorhost_error", "code_of"]
