"""``tensorflow.ProfilerService``, as ``tf.profiler.experimental.client`` asks it.

The trace goes back in the response, and the client writes it where it wants it. Nothing is written here, whatever
folder the request names. What must stay true: a profile that was begun is ended, even if nobody waits for it any more.
"""

from __future__ import annotations

import asyncio
from typing import Any

from tensorhost.codecs.protobuf import decode, message_class
from tensorhost.frontends.rpc import Role, Rpc, RpcContext, RpcError, RpcStatus
from tensorhost.runtimes.tensorflow.profiling import Profile, ProfilerBusyError, TracerLevels

NAME = "tensorflow.ProfilerService"

_LONGEST_S = 600.0
"""A trace grows in memory for as long as it goes on."""

_PROFILE_REQUEST = message_class("tensorflow.ProfileRequest")
_PROFILE_RESPONSE: Any = message_class("tensorflow.ProfileResponse")
_TERMINATE_REQUEST = message_class("tensorflow.TerminateRequest")
_TERMINATE_RESPONSE = message_class("tensorflow.TerminateResponse")

_BUSY = RpcError(RpcStatus.ALREADY_EXISTS, "Another profile of this process is being made.")


class ProfilerService:
    """The service's methods. One profile at a time: TensorFlow has one profiler."""

    def __init__(self) -> None:
        self._session: str | None = None
        self._ended = asyncio.Event()

    def rpcs(self) -> list[Rpc]:
        """What a transport needs to know. All of it looks into the process."""
        return [
            Rpc(f"/{NAME}/Profile", self.profile, Role.CONTROL),
            Rpc(f"/{NAME}/Terminate", self.terminate, Role.CONTROL),
        ]

    async def profile(self, data: bytes, context: RpcContext) -> bytes:
        """``ProfileRequest`` to ``ProfileResponse``, after the time that it asks for.

        Raises:
            RpcError: a profile is being made already, or it would take too long.
            RuntimeMissingError: TensorFlow is not loaded.
        """
        del context  # a call that is given up is cancelled
        request = decode(_PROFILE_REQUEST, data)
        seconds = request.duration_ms / 1000
        if seconds > _LONGEST_S:
            raise RpcError(RpcStatus.INVALID_ARGUMENT, f"A profile takes at most {_LONGEST_S:.0f} seconds.")
        if self._session is not None:
            raise RpcError(_BUSY.status, _BUSY.message)
        self._session = request.session_id
        self._ended = asyncio.Event()
        try:
            space = await self._trace(_levels(request), seconds)
        finally:
            self._session = None
        return await asyncio.to_thread(_response, space, with_space=request.emit_xspace)

    async def terminate(self, data: bytes, context: RpcContext) -> bytes:
        """``TerminateRequest`` to ``TerminateResponse``: the profile of that session ends now, and is answered."""
        del context
        session = decode(_TERMINATE_REQUEST, data).session_id
        if self._session is None or session != self._session:
            raise RpcError(RpcStatus.NOT_FOUND, "There is no such profile.")
        self._ended.set()
        return _TERMINATE_RESPONSE().SerializeToString()

    async def _trace(self, levels: TracerLevels, seconds: float) -> bytes:
        beginning = asyncio.ensure_future(asyncio.to_thread(Profile, levels))
        try:
            await asyncio.shield(beginning)
            try:
                async with asyncio.timeout(seconds):
                    await self._ended.wait()
            except TimeoutError:
                pass
        except ProfilerBusyError as error:
            raise RpcError(_BUSY.status, error.message) from None
        finally:
            # Also for a client that has left, perhaps while the profile began.
            space = await asyncio.shield(asyncio.ensure_future(_finish(beginning)))
        return space


async def _finish(beginning: asyncio.Future[Profile]) -> bytes:
    await asyncio.wait([beginning])
    if beginning.cancelled() or beginning.exception() is not None:
        # Whoever waits for the beginning is told.
        return b""
    return await asyncio.to_thread(beginning.result().finish)


def _levels(request: Any) -> TracerLevels:
    if not request.HasField("opts") or not request.opts.version:
        return TracerLevels()
    options = request.opts
    return TracerLevels(options.host_tracer_level, options.python_tracer_level, options.device_tracer_level)


def _response(space: bytes, *, with_space: bool) -> bytes:
    response = _PROFILE_RESPONSE()
    response.empty_trace = not space
    if with_space:
        response.xspace.ParseFromString(space)
    elif space:
        # As older servers did: the client keeps it in its own folder, under the name of the tool.
        response.tool_data.add(name="xplane.pb", data=space)
    return bytes(response.SerializeToString())
