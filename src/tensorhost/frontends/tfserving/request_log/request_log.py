"""Sampled requests and their answers, written where a model's ``logging_config`` says, as PredictionLogs.

A log's file is a warm-up file: put beside a version as ``assets.extra/tf_serving_warmup_requests`` it is run before the
version serves. Only requests that went well are logged, as a warm-up file must not hold others. Nothing is decided here
about what a request is; front ends hand over the bytes of the messages.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Any

from tensorhost.codecs.protobuf import message_class
from tensorhost.codecs.protobuf.framing import field_key, varint
from tensorhost.frontends.tfserving.request_log.files import FileLimits
from tensorhost.frontends.tfserving.request_log.writer import LogWriter, Record
from tensorhost.models.listed import RequestLogOptions
from tensorhost.models.manager import ModelManager
from tensorhost.settings import Settings

_PredictionLog = message_class("tensorhost.wire.PredictionLog").DESCRIPTOR
_METADATA, _REQUEST, _RESPONSE = field_key(1), field_key(1), field_key(2)
_LogMetadata: Any = message_class("tensorflow.serving.LogMetadata")


class LoggedMethod(StrEnum):
    """What was asked, by the field of a PredictionLog."""

    CLASSIFY = "classify_log"
    REGRESS = "regress_log"
    PREDICT = "predict_log"
    MULTI_INFERENCE = "multi_inference_log"


_KEYS = {method: field_key(_PredictionLog.fields_by_name[method].number) for method in LoggedMethod}


class RequestLog:
    """The request logs of one process. Belongs to the event loop's thread; writing happens on another.

    Args:
        manager: knows which requests of which models are logged, and where calls are counted.
        settings: of the files.
        clock: seconds since the epoch.
    """

    def __init__(self, manager: ModelManager, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self._manager = manager
        self._calls = manager.metrics.serving_calls
        self._tags = settings.saved_model_tags
        self._clock = clock
        self._loop: asyncio.AbstractEventLoop | None = None
        limits = FileLimits(int(settings.request_log_file_size), settings.request_log_files)
        self._writer = LogWriter(limits, self._report)

    def sample(self, model: str) -> bool:
        """Whether this request of ``model`` is to be logged: chance decides, by the model's sampling rate."""
        options = self._options(model)
        # No random number is spent on a log of everything; there is none at all in most servers.
        return options is not None and (options.sampling_rate >= 1 or random.random() < options.sampling_rate)  # noqa: S311

    def write(self, model: str, method: LoggedMethod, *, model_spec: bytes, request: bytes, response: bytes) -> None:
        """Log a request that went well. Returns at once; what cannot be written is counted, and no request fails.

        Args:
            model: whose it is.
            method: what was asked.
            model_spec: what answered, a serialized ``tensorflow.serving.ModelSpec``.
            request, response: serialized messages of the method.
        """
        options = self._options(model)
        if options is None:
            return
        self._loop = asyncio.get_running_loop()
        metadata = _LogMetadata(saved_model_tags=self._tags, timestamp_secs=int(self._clock()))
        metadata.model_spec.ParseFromString(model_spec)
        metadata.sampling_config.sampling_rate = options.sampling_rate
        data = _prediction_log(metadata.SerializeToString(), method, request, response)
        record = Record(self._calls.label_of(model), options.filename_prefix, data)
        if not self._writer.put(record):
            self._calls.count_logged(record.model, "dropped", 1)

    async def close(self, timeout_s: float) -> None:
        """Write what waits; give up after ``timeout_s``."""
        await asyncio.to_thread(self._writer.close, timeout_s)

    def _options(self, model: str) -> RequestLogOptions | None:
        record = self._manager.models().get(model)
        return None if record is None or record.listed is None else record.listed.request_log

    def _report(self, model: str, outcome: str, count: int) -> None:
        """On the writer's thread. Counters are the event loop's."""
        # A loop that has ended, because the disk took longer than the stop could wait, counts nothing any more.
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._calls.count_logged, model, outcome, count)


def _prediction_log(metadata: bytes, method: LoggedMethod, request: bytes, response: bytes) -> bytes:
    """A serialized PredictionLog, put together here: protobuf would copy a large request three times, on the loop."""
    request_head = _REQUEST + varint(len(request))
    response_head = _RESPONSE + varint(len(response))
    size = len(request_head) + len(request) + len(response_head) + len(response)
    head = _METADATA + varint(len(metadata)) + metadata + _KEYS[method] + varint(size) + request_head
    return b"".join((head, request, response_head, response))
