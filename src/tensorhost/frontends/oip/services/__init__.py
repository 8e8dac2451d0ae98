"""``inference.GRPCInferenceService``: from the bytes of a request to those of its response.

``model_infer`` asks models, ``descriptions`` tells of them, ``control`` changes what is served; ``calls`` is what the
last two have in common, ``ordered`` how a stream works, ``stream_messages`` what it says.
"""

from __future__ import annotations

from tensorhost.frontends.oip.open_inference import OpenInference
from tensorhost.frontends.oip.services.calls import SERVICE
from tensorhost.frontends.oip.services.control import Control
from tensorhost.frontends.oip.services.descriptions import Descriptions
from tensorhost.frontends.oip.services.model_infer import ModelInfer
from tensorhost.frontends.rpc import Rpc, StreamRpc

__all__ = ["rpcs"]


def rpcs(protocol: OpenInference) -> list[Rpc | StreamRpc]:
    """Every method a transport has to offer."""
    asking = ModelInfer(protocol.inference, max_streamed=protocol.settings.grpc_stream_requests)
    return [
        Rpc(f"/{SERVICE}/ModelInfer", asking.infer),
        StreamRpc(f"/{SERVICE}/ModelStreamInfer", asking.stream, finishes=True),
        *Descriptions(protocol).rpcs(),
        *Control(protocol).rpcs(),
    ]
