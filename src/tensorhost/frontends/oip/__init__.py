"""The Open Inference Protocol (v2) over REST and gRPC, as Triton's and KServe's clients speak it.

What both wires mean the same by is here once: which model (``admitting``), what may be asked of it (``inference``,
``inputs``, ``parameters``, ``classification``, ``shared_tensors``), what is told of it (``metadata``, ``model_config``,
``statistics``), the repository, the settings and shared memory (``repository``, ``server_settings``,
``shared_memory``), how it fails (``faults``, ``statuses``). ``rest`` has what HTTP adds to it,
``services`` what gRPC does.
"""

from tensorhost.frontends.oip.open_inference import OpenInference
from tensorhost.frontends.oip.rest import RestApp
from tensorhost.frontends.oip.services import rpcs

__all__ = ["OpenInference", "RestApp", "rpcs"]
