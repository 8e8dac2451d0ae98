"""The gRPC services of TensorFlow Serving: from the bytes of a request to those of its response."""

from __future__ import annotations

from tensorhost.frontends.rpc import Rpc
from tensorhost.frontends.tfserving.inference import Inference
from tensorhost.frontends.tfserving.request_log import RequestLog
from tensorhost.frontends.tfserving.services.model_service import ModelService
from tensorhost.frontends.tfserving.services.prediction_service import PredictionService
from tensorhost.frontends.tfserving.services.profiler_service import ProfilerService
from tensorhost.frontends.tfserving.serving_metrics import ServingMetrics
from tensorhost.inference import Group, InferenceEngine
from tensorhost.settings import Settings

__all__ = ["rpcs"]


def rpcs(engine: InferenceEngine, settings: Settings, group: Group, request_log: RequestLog) -> list[Rpc]:
    """Every method a transport has to offer.

    Args:
        engine: answers, and knows the models.
        settings: what is offered, limits, where models may lie.
        group: changes what is loaded.
        request_log: keeps samples of requests.
    """
    prediction = PredictionService(Inference(engine), ServingMetrics(engine.manager), request_log, settings)
    found = [*prediction.rpcs(), *ModelService(engine.manager, group, settings).rpcs()]
    if settings.grpc_profiler:
        found += ProfilerService().rpcs()
    return found
