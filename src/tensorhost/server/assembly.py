"""Assembles the whole server and runs it. Start order: listen, load, ready; the stop is its exact reverse."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable

from tensorhost.core.version import __version__
from tensorhost.frontends.native import NativeApp
from tensorhost.inference import InferenceEngine
from tensorhost.models.manager import ModelManager
from tensorhost.server.cors import wrap_cors
from tensorhost.server.http import HttpServer, StopReport
from tensorhost.server.stop import serve
from tensorhost.settings import Settings
from tensorhost.telemetry import MetricsCollector, configure_logging, get_logger

_SWITCH_INTERVAL_S = 0.0005
"""How long a thread may keep the interpreter from another. The default of 5 ms would add that much to a request each
time a model's thread or a load has work to do in Python."""

_OTHER_FILES = 256
"""Files open besides connections: models, logs, the event loop's own."""

log = get_logger(__name__)


def run(settings: Settings, *, banner: Callable[[str], None] | None = None) -> int:
    """Serve until a signal says stop.

    Args:
        settings: everything.
        banner: called with the base URL when the server is ready.

    Returns:
        The process's exit code: 0, or 1 when requests had to be cut off at the shutdown timeout.

    Raises:
        CannotStartError: the address or the TLS files cannot be used.
    """
    configure_logging(settings.log_level, settings.log_format)
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    _allow_open_files(settings.max_connections + _OTHER_FILES)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_serve(settings, banner))


async def _serve(settings: Settings, banner: Callable[[str], None] | None) -> int:
    metrics = MetricsCollector()
    manager = ModelManager(settings, repository=settings.model_path, metrics=metrics)
    engine = InferenceEngine(manager)
    app = NativeApp(engine, settings)
    starting: set[asyncio.Task[None]] = set()

    def on_ready(server: HttpServer) -> None:
        log.info("listening", url=server.url, version=__version__, model_path=str(settings.model_path))
        task = asyncio.create_task(_start(manager, server, banner), name="start models")
        starting.add(task)

    async def on_stopped(_report: StopReport) -> None:
        for task in starting:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        engine.close()
        await manager.close()
        log.info("stopped")

    report = await serve(
        wrap_cors(app, settings),
        settings,
        on_ready=on_ready,
        on_drain=app.begin_drain,
        on_stopped=on_stopped,
        on_refused=metrics.record_unattributed_error,
    )
    return 0 if report.clean else 1


async def _start(manager: ModelManager, server: HttpServer, banner: Callable[[str], None] | None) -> None:
    await manager.open()
    await manager.wait_settled()
    available = [
        str(record.id) for model in manager.models().values() for record in model.newest_first() if record.available
    ]
    log.info("ready", url=server.url, models=", ".join(available) or "none")
    if banner is not None:
        try:
            banner(server.url)
        except OSError as error:
            # Nobody reads standard output any more; that is no reason to stop serving.
            log.warning("the banner could not be written", reason=error.strerror)


def _allow_open_files(count: int) -> None:
    """Raise the process's soft limit of open files as far as the system lets it; the usual 1,024 are soon used up."""
    try:
        import resource
    except ImportError:  # not on Windows
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:  # not packaged for Windows
        return asyncio.new_event_loop
    return uvloop.new_event_loop
