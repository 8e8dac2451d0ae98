"""Assembles the whole server and runs it. Start order: listen, load, ready; the stop is its exact reverse."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from tensorhost.core.version import __version__
from tensorhost.frontends import oip
from tensorhost.frontends.containers import ContainerApp
from tensorhost.frontends.dashboard import Dashboard
from tensorhost.frontends.native import NativeApp
from tensorhost.frontends.tfserving import RequestLog, RestApp
from tensorhost.inference import Alone, Group, InferenceEngine
from tensorhost.inference.regions import MOST_REGIONS
from tensorhost.models.configured import ConfiguredModels
from tensorhost.models.listed import ModelList
from tensorhost.models.manager import ModelManager
from tensorhost.models.sharing import LoadSharing
from tensorhost.models.wishes import Wish
from tensorhost.server.applications import Applications
from tensorhost.server.http import StopReport
from tensorhost.server.methods import Methods
from tensorhost.server.sampling import sample
from tensorhost.server.servers import Servers
from tensorhost.server.stop import serve
from tensorhost.server.tracing import check_tracing, open_tracing, wrap_tracing
from tensorhost.server.workers import Supervisor
from tensorhost.server.workers.count import worker_count
from tensorhost.settings import Settings
from tensorhost.telemetry import MetricsCollector, allow_open_files, configure_logging, get_logger
from tensorhost.telemetry.history import History

if TYPE_CHECKING:
    from starlette.types import ASGIApp

_SWITCH_INTERVAL_S = 0.0005
"""How long a thread may keep the interpreter from another. The default of 5 ms would add that much to a request each
time a model's thread or a load has work to do in Python."""

_THREADS = 32
_THREAD_NAME = "work"
"""Threads for what must not hold up the event loop: large bodies, images, custom steps, looking at the disk."""

_OUR_THREADS = (_THREAD_NAME, "run-", "load")
_LAST_WAIT_S = 2.0

_OTHER_FILES = 256
"""Files open besides connections: models, logs, the event loop's own."""

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Part:
    """What a process that serves is in its server: all of it, or one of several workers.

    Attributes:
        on_listening: called when requests can be answered, before any model is loaded.
        on_loaded: called when the models wanted at the start serve or have failed.
        group: all processes of the server; None when this one is alone.
        sharing: how loading is shared with them.
        models: the list to serve; None for what lies in the model path.
        follow: has each change of that list carried out, until cancelled; None where another process does.
        wishes: what operators have asked for already.
        listeners: sockets to take connections from, see ``HttpServer``.
        stop: says when to stop; None for signals.
        worker: which of the workers this is; None when this process is alone.
    """

    on_listening: Callable[[Servers, ModelManager], None]
    on_loaded: Callable[[Servers, ModelManager], None]
    group: Group | None = None
    sharing: LoadSharing | None = None
    models: ModelList | None = None
    follow: Callable[[Callable[[ModelList], Awaitable[None]]], Coroutine[Any, Any, None]] | None = None
    wishes: Sequence[Wish] = ()
    listeners: Sequence[socket.socket] | None = None
    stop: asyncio.Event | None = None
    worker: int | None = None


def run(settings: Settings, *, banner: Callable[[str], None] | None = None) -> int:
    """Serve until a signal says stop.

    Args:
        settings: everything.
        banner: called with where the server is reached when it is ready.

    Returns:
        The process's exit code: 0, or 1 when requests had to be cut off at the shutdown timeout.

    Raises:
        CannotStartError: the address or the TLS files cannot be used.
        InvalidRequestError: several workers where the system cannot have them, tracing that cannot be set up, or a
            model config file that cannot be used.
    """
    workers = worker_count(settings)
    if workers > 1:
        check_tracing(settings)
        return run_process(settings, lambda: Supervisor(settings, workers, banner).run())
    configured = ConfiguredModels(settings)
    part = Part(
        on_listening=partial(_say_listening, settings),
        on_loaded=partial(_say_ready, banner),
        models=configured.models,
        follow=configured.follow,
    )
    return run_process(settings, lambda: serve_models(settings, part))


def run_process(settings: Settings, main: Callable[[], Coroutine[Any, Any, int]], **log_fields: int) -> int:
    """Run ``main`` on the event loop of this process, set up as ``settings`` say; the exit code it returns."""
    configure_logging(settings.log_level, settings.log_format, **log_fields)
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    has_grpc = settings.grpc_port != 0 or settings.grpc_socket_path is not None
    regions = MOST_REGIONS if settings.oip_shared_memory else 0
    allow_open_files(settings.max_connections * (2 if has_grpc else 1) + regions + _OTHER_FILES)
    runner = asyncio.Runner(loop_factory=_loop_factory())
    try:
        exit_code = runner.run(main())
        _leave_if_threads_hang(exit_code)
    finally:
        runner.close()
    return exit_code


async def serve_models(settings: Settings, part: Part) -> int:
    """Serve in this process until told to stop; the exit code of ``run``."""
    executor = ThreadPoolExecutor(_THREADS, thread_name_prefix=_THREAD_NAME)
    asyncio.get_running_loop().set_default_executor(executor)
    spans = open_tracing(settings, part.worker)
    metrics = MetricsCollector()
    manager = ModelManager(
        settings,
        repository=settings.model_path,
        models=part.models,
        metrics=metrics,
        wishes=part.wishes,
        sharing=part.sharing,
    )
    engine = InferenceEngine(manager)
    history = History()
    group = part.group or Alone(manager, history)
    dashboard = Dashboard(manager, settings, group) if settings.dashboard else None
    request_log = RequestLog(manager, settings)
    open_inference = oip.OpenInference(engine, settings, group)
    tracing = None if spans is None else spans.tracing
    methods = Methods(engine, settings, group, request_log, open_inference, tracing)
    app = NativeApp(engine, settings, group, dashboard.routes() if dashboard else ())
    tasks: set[asyncio.Task[None]] = set()

    def on_ready(servers: Servers) -> None:
        part.on_listening(servers, manager)
        tasks.add(asyncio.create_task(_start(manager, servers, part), name="start models"))
        if part.follow is not None:
            replace = partial(manager.replace_models, labels_may_wait=settings.labels_may_wait)
            tasks.add(asyncio.create_task(part.follow(replace), name="follow the model config file"))
        if dashboard is not None and part.group is None:
            tasks.add(asyncio.create_task(sample(history, group.view), name="sample metrics"))

    def on_drain() -> None:
        app.begin_drain()
        open_inference.begin_drain()
        methods.begin_drain()
        if dashboard is not None:
            dashboard.begin_drain()

    async def on_stopped(_report: StopReport) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        engine.close()
        group.state.regions.close()
        async with asyncio.TaskGroup() as closing:
            closing.create_task(_close(manager, settings))
            closing.create_task(request_log.close(settings.shutdown_timeout_s))
            if spans is not None:
                closing.create_task(spans.close(settings.shutdown_timeout_s))
        executor.shutdown(wait=False, cancel_futures=True)
        log.info("stopped")

    rest = RestApp(engine, settings, group, request_log)
    applications = Applications(app, rest, oip.RestApp(open_inference), settings)
    served: ASGIApp = applications
    if spans is not None:
        served = wrap_tracing(served, spans.tracing, applications.traced_route)
    if settings.has_container_routes:
        # Around tracing, which then sees the request that is passed on.
        served = ContainerApp(served, manager, settings, group)
    report = await serve(
        served,
        settings,
        on_ready=on_ready,
        on_drain=on_drain,
        on_stopped=on_stopped,
        on_refused=metrics.record_unattributed_error,
        stop=part.stop,
        handle_signals=part.stop is None,
        listeners=part.listeners,
        grpc=methods.server(shared=part.group is not None),
    )
    return 0 if report.clean else 1


async def _start(manager: ModelManager, servers: Servers, part: Part) -> None:
    await manager.open()
    await manager.wait_settled()
    part.on_loaded(servers, manager)


async def _close(manager: ModelManager, settings: Settings) -> None:
    try:
        async with asyncio.timeout(settings.shutdown_timeout_s):
            await manager.close()
    except TimeoutError:
        # A load or a call inside TensorFlow cannot be interrupted. Nobody waits for it; the process may end.
        log.warning("models were not all unloaded in time")


def _say_listening(settings: Settings, servers: Servers, _manager: ModelManager) -> None:
    log.info("listening", **servers.log_fields(), version=__version__, model_path=str(settings.served_from))


def _say_ready(banner: Callable[[str], None] | None, servers: Servers, manager: ModelManager) -> None:
    available = [
        str(record.id) for model in manager.models().values() for record in model.newest_first() if record.available
    ]
    log.info("ready", **servers.log_fields(), models=", ".join(available) or "none")
    # With models of which none can be served, the log's errors are the last word.
    if banner is not None and (available or not manager.models()):
        try:
            banner(servers.places)
        except (OSError, UnicodeError) as error:
            # Nobody reads standard output any more, or cannot; that is no reason to stop serving.
            log.warning("the banner could not be written", reason=str(error))


def _leave_if_threads_hang(exit_code: int) -> None:
    """End the process where a thread of ours never comes back, from a custom step or a model that hangs.

    Python would wait for it for ever. Every request has been answered by now.
    """
    deadline = time.monotonic() + _LAST_WAIT_S
    ours = [thread for thread in threading.enumerate() if thread.name.startswith(_OUR_THREADS)]
    for thread in ours:
        thread.join(max(deadline - time.monotonic(), 0.0))
    hanging = [thread.name for thread in ours if thread.is_alive()]
    if hanging:
        log.warning("threads did not end; leaving them behind", threads=", ".join(hanging))
        logging.shutdown()
        os._exit(exit_code)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:  # not packaged for Windows
        return asyncio.new_event_loop
    return uvloop.new_event_loop
