"""Running the servers until someone stops them: signals, the drain window, and the end that cannot hang.

SIGTERM or SIGINT begins the stop; a second one ends the process at once. The second is seen by a thread of its own that
reads what the interpreter's C-level handler writes, so it works while the event loop or a model call hangs; the same
thread ends a process whose stop takes longer than the settings allow.
The order of the stop: ``on_drain`` → drain window → listeners closed → requests finished → ``on_stopped``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from tensorhost.core.errors import ErrorCode
from tensorhost.server.grpc import GrpcServer
from tensorhost.server.http import HttpServer, StopReport
from tensorhost.server.servers import Servers
from tensorhost.settings import Settings

if TYPE_CHECKING:
    from starlette.types import ASGIApp

_LOG = logging.getLogger(__name__)
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

_HUNG_MARGIN_S = 15.0
_HUNG_EXIT_CODE = 70  # EX_SOFTWARE
_SIGNAL_EXIT_BASE = 128


async def serve(
    app: ASGIApp,
    settings: Settings,
    *,
    on_ready: Callable[[Servers], None],
    on_drain: Callable[[], None],
    on_stopped: Callable[[StopReport], Awaitable[None]],
    on_refused: Callable[[ErrorCode], None] = lambda _code: None,
    stop: asyncio.Event | None = None,
    handle_signals: bool = True,
    listeners: Sequence[socket.socket] | None = None,
    grpc: GrpcServer | None = None,
) -> StopReport:
    """Serve ``app`` and ``grpc`` until a signal, or until ``stop`` is set; return when the stop is complete.

    Args:
        app: a plain ASGI 3 callable.
        settings: address, TLS, limits, ``drain_window_s``, ``shutdown_timeout_s``.
        on_ready: called once, when requests are accepted, or can be once ``Servers.accept_from`` says so.
        on_drain: called at once when the stop begins; readiness must say 503 from then on.
        on_refused: told of each request that is refused before ``app`` sees it.
        on_stopped: awaited when no request is left, to take down what the application used.
        stop: lets the caller stop the server without a signal.
        handle_signals: whether signals stop it; they can only in the main thread, elsewhere they never do.
        listeners: see ``HttpServer``.
        grpc: is opened, and stops, with the other; None for none.

    Raises:
        CannotStartError: the address or the TLS files cannot be used; none of the callbacks has been called then.
    """
    stop = stop or asyncio.Event()
    http = HttpServer(app, settings, on_refused, listeners) if settings.http else None
    servers = Servers(http, grpc, settings, told=listeners is not None)
    hung_after_s = hung_stop_s(settings)
    handles = handle_signals and threading.current_thread() is threading.main_thread()
    with stop_on_signal(stop, hung_after_s=hung_after_s) if handles else contextlib.nullcontext():
        await servers.open()
        try:
            on_ready(servers)
            await stop.wait()
            on_drain()
            servers.begin_drain()
            _LOG.info("stopping", extra={"drain_window_s": settings.drain_window_s})
            await asyncio.sleep(settings.drain_window_s)
        finally:
            report = await servers.close()
        if not report.clean:
            _LOG.warning("requests were cut off at the shutdown timeout", extra={"requests": report.cut_off_requests})
        await on_stopped(report)
    return report


def hung_stop_s(settings: Settings) -> float:
    """How long after the first signal a stop counts as hanging."""
    return settings.drain_window_s + settings.shutdown_timeout_s + _HUNG_MARGIN_S


@contextlib.contextmanager
def stop_on_signal(stop: asyncio.Event, *, hung_after_s: float) -> Iterator[None]:
    """Set ``stop`` at the first SIGTERM or SIGINT, end the process at the second. Main thread of a running loop only.

    Args:
        stop: an event of the running loop.
        hung_after_s: a process still in this block that long after the first signal is ended with exit code 70.
    """
    loop = asyncio.get_running_loop()

    def request_stop(_number: int, _frame: object) -> None:
        loop.call_soon_threadsafe(stop.set)

    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = {number: signal.signal(number, request_stop) for number in STOP_SIGNALS}
    next_reader = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    watcher = threading.Thread(
        target=_watch, args=(reader, next_reader, hung_after_s), name="tensorhost-signals", daemon=True
    )
    watcher.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(next_reader)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(writer)
        watcher.join()
        os.close(reader)


def _watch(reader: int, next_reader: int, hung_after_s: float) -> None:
    """Read signal numbers until the other end closes; pass each on to the event loop's own reader."""
    hung_at: float | None = None
    while True:
        timeout_s = None if hung_at is None else max(0.0, hung_at - time.monotonic())
        readable, _, _ = select.select([reader], [], [], timeout_s)
        if not readable:
            _end_now("the stop hangs; ending the process", _HUNG_EXIT_CODE)
        numbers = os.read(reader, 64)
        if not numbers:
            return
        for number in numbers:
            if next_reader >= 0:
                with contextlib.suppress(OSError):
                    os.write(next_reader, bytes((number,)))
            if number not in STOP_SIGNALS:
                continue
            if hung_at is not None:
                _end_now("second signal; ending the process at once", _SIGNAL_EXIT_BASE + number)
            hung_at = time.monotonic() + hung_after_s


def _end_now(message: str, exit_code: int) -> None:
    """Leave without waiting for anything: no thread is joined, no model unloaded."""
    speaker = threading.Thread(target=_say_last_words, args=(message,), daemon=True)
    speaker.start()
    speaker.join(timeout=1.0)  # a hung thread may hold a log handler's lock for ever
    os._exit(exit_code)


def _say_last_words(message: str) -> None:
    _LOG.error(message)
    logging.shutdown()
