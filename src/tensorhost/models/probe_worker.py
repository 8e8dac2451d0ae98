"""The child process in which models are tried: ``python -m tensorhost.models.probe_worker IDLE_S``.

Reads one request a line from standard input and tries one model after the other, so that importing a framework is
paid once. It protects nobody: what a model does to it, the server watches from outside. What must stay true: it
never outlives the server, and nothing but messages is ever written to what was its standard output.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tensorhost.core.errors import InternalError, TensorhostError
from tensorhost.core.signatures import DEFAULT_SIGNATURE, Signature
from tensorhost.core.tensors import Array, Tensors
from tensorhost.models.examples import read_examples
from tensorhost.models.loading import attempt, prepare_runtime, release_memory, said_of_signatures
from tensorhost.models.probe_messages import Examined, Failed, FirstRuns, Message, Passed, ProbeRequest, Stage
from tensorhost.models.race_messages import HeatMessage, Raced
from tensorhost.models.racing import race
from tensorhost.models.repository import version_folder
from tensorhost.models.warmup import WarmupOptions, run_first
from tensorhost.models.warmup_records import run_warmup_records
from tensorhost.runtimes import Contents, Runtime, detect_format, examine, load, locate_model, refuse_untrusted
from tensorhost.runtimes.base import ExampleFeature, RuntimeName
from tensorhost.telemetry import process_memory

_NICENESS = 10
_PR_SET_PDEATHSIG = 1
_MOST_EXPENDABLE = "1000"
_NO_DUMP_BYTES = 1

Send = Callable[[Message], None]


class AnnouncedRuntime:
    """A runtime that says what it is about to run before it does; see ``Runtime``."""

    def __init__(self, runtime: Runtime, send: Send) -> None:
        self._runtime = runtime
        self._send = send

    @property
    def name(self) -> str:
        """The runtime's."""
        return self._runtime.name

    @property
    def signatures(self) -> Mapping[str, Signature]:
        """The runtime's."""
        return self._runtime.signatures

    @property
    def weights_bytes(self) -> int:
        """The runtime's."""
        return self._runtime.weights_bytes

    @property
    def refused_signatures(self) -> Mapping[str, str]:
        """The runtime's."""
        return self._runtime.refused_signatures

    def call_path(self, signature: str) -> str:
        """The runtime's."""
        return self._runtime.call_path(signature)

    def example_features(self, signature: str) -> Sequence[ExampleFeature]:
        """The runtime's."""
        return self._runtime.example_features(signature)

    def tune(self, signature: str, samples: Sequence[Tensors]) -> None:
        """The runtime's."""
        self._runtime.tune(signature, samples)

    def run(self, signature: str, inputs: Tensors) -> dict[str, Array]:
        """Announce the call, then make it."""
        shapes = {name: tuple(array.shape) for name, array in inputs.items()}
        self._send(Stage(doing="running", signature=signature, inputs=shapes))
        return self._runtime.run(signature, inputs)

    def run_loosely(self, signature: str, inputs: Tensors) -> dict[str, Array]:
        """The runtime's."""
        return self._runtime.run_loosely(signature, inputs)

    def close(self) -> None:
        """Announce it, then close the runtime."""
        self._send(Stage(doing="unloading"))
        self._runtime.close()


def serve_request(line: bytes, send: Send) -> None:
    """Try the model that ``line`` asks for and send what became of it."""
    send(Stage(doing="preparing"))
    request = ProbeRequest.from_line(line)
    try:
        answer: Message = attempt(lambda: _try(request, send))
    except TensorhostError as failure:
        answer = Failed.of(failure)
    release_memory()
    send(answer)


def _try(request: ProbeRequest, send: Send) -> Passed | Raced:
    # Modules of the model are its code, which is not run before it has been examined.
    prepare_runtime(detect_format(request.path), replace(request.options, model_modules=()))
    send(Stage(doing="examining"))
    contents = examine(request.path, request.options)
    refuse_untrusted(contents, request.options)
    send(Examined.of(contents.findings))
    if request.race is not None:
        return _race(request, send)
    release_memory()
    forgotten = _forget_peak()
    send(Stage(doing="loading", baseline_bytes=process_memory().rss, peak_forgotten=forgotten))
    started = time.perf_counter()
    runtime = AnnouncedRuntime(load(request.path, request.options), send)
    try:
        load_s = time.perf_counter() - started
        started = time.perf_counter()
        if request.runs is not None:
            _run_all(runtime, request.runs)
            if request.runs.records:
                defaults = said_of_signatures(request.path, request.options)[1]
                run_warmup_records(version_folder(request.path), runtime, defaults, iterations=1)
        return _measured(runtime, contents, load_s, time.perf_counter() - started)
    finally:
        runtime.close()


def _race(request: ProbeRequest, send: Send) -> Raced:
    """Load the model in its own runtime and let the others try."""
    order, runs, found = request.race, request.runs, locate_model(request.path)
    if order is None or runs is None or found is None:
        raise InternalError("No race was ordered.")
    send(Stage(doing="loading", baseline_bytes=process_memory().rss))
    runtime = load(request.path, replace(request.options, runtime=RuntimeName.NATIVE))
    try:
        heats = race(
            runtime,
            *found,
            read_examples(runs.folder, runs.examples, runtime.signatures),
            warmup_of(runs),
            request.options,
            order,
            lambda signature, entrant: send(Stage(doing="racing", signature=signature, entrant=entrant.label)),
        )
        for heat in heats:
            send(HeatMessage.of(heat))
    finally:
        send(Stage(doing="unloading"))
        runtime.close()
    return Raced()


def warmup_of(runs: FirstRuns) -> WarmupOptions:
    """How the model is to be run in the child."""
    return WarmupOptions(
        iterations=0,
        max_batch_rows=runs.max_batch_rows,
        batching=runs.batching,
        threshold_s=0,
        ranges=runs.ranges,
    )


def _run_all(runtime: Runtime, runs: FirstRuns) -> None:
    """Run each signature; as when it is served, a failure of any but the default one is no failure of the model."""
    examples = read_examples(runs.folder, runs.examples, runtime.signatures)
    options = warmup_of(runs)
    default = next(iter(runtime.signatures), DEFAULT_SIGNATURE)
    for name, signature in runtime.signatures.items():
        try:
            run_first(runtime, signature, options, examples.get(name, ()))
        except TensorhostError:
            if name == default:
                raise


def _measured(runtime: Runtime, contents: Contents, load_s: float, run_s: float) -> Passed:
    release_memory()
    return Passed.of(runtime, contents, loaded_bytes=process_memory().rss, load_s=load_s, run_s=run_s)


def _forget_peak() -> bool:
    """Have the system measure peak memory anew; whether it can. Elsewhere the server's sampling is all there is."""
    try:
        Path("/proc/self/clear_refs").write_bytes(b"5")
    except OSError:
        return False
    return True


def _become_expendable() -> None:
    """Give way to the server, leave signals meant for it to it, go before it when memory runs out, leave no dump."""
    import resource

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    os.nice(_NICENESS)
    # One byte is too little for a file, and tells Linux to start no program that takes dumps either.
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (min(_NO_DUMP_BYTES, hard) if hard >= 0 else _NO_DUMP_BYTES, hard))
    if sys.platform == "linux":
        # When the thread of the server ends that started this process. That its standard input ends says the same,
        # but a model that holds the interpreter would keep it from being heard.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        try:
            Path("/proc/self/oom_score_adj").write_text(_MOST_EXPENDABLE, encoding="ascii")
        except OSError:
            return


def _take_standard_output() -> Send:
    """Keep standard output for messages; whatever else is written to it goes to standard error from now on."""
    reports = os.dup(1)
    os.dup2(2, 1)

    def send(message: Message) -> None:
        rest = memoryview(message.to_line())
        while rest:
            rest = rest[os.write(reports, rest) :]

    return send


def _read_requests(requests: queue.SimpleQueue[bytes]) -> None:
    """Pass on what the server asks; end with the server, in the middle of whatever goes on."""
    for line in sys.stdin.buffer:
        requests.put(line)
    os._exit(0)


def main() -> None:
    """Serve requests until there has been none for the number of seconds in the first argument."""
    send = _take_standard_output()
    _become_expendable()
    faulthandler.enable()
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read_requests, args=(requests,), daemon=True).start()
    idle_s = float(sys.argv[1])
    while True:
        try:
            line = requests.get(timeout=idle_s)
        except queue.Empty:
            os._exit(0)  # past the exit handlers of frameworks, which have crashed before
        serve_request(line, send)


if __name__ == "__main__":
    main()
