"""What trying a model has shown, kept on disk: the report of the child process, the heats of a race, and what was
written for the runtimes that won.

Kept by what decides the outcome (``trial_key``). So a model that was tried once is not tried again, after a restart or
by a second process. What must stay true: an entry appears whole or not at all; what is read back is checked like
anything foreign; a folder that others may write is not used; nothing here ever fails a load.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tensorhost.models.probe import ProbeReport
from tensorhost.models.probe_messages import WireContents, WireSignature
from tensorhost.models.race_messages import HeatMessage
from tensorhost.runtimes.race.verdict import Heat
from tensorhost.telemetry import get_logger

_RECORD = "trial.json"
_MAX_RECORD_BYTES = 16 * 2**20
_PARTIAL = ".partial-"
_ABANDONED_S = 24 * 3600.0
_LOCK_POLL_S = 0.05
_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH

_Bytes = Annotated[int, Field(ge=0, lt=2**62)]
_Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Text = Annotated[str, Field(max_length=4000)]

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Trial:
    """What trying a model has shown.

    Attributes:
        report: of the child process.
        heats: of the race; empty where there was none.
        raced: whether these heats are all there is to know: none was lost for want of time, say.
        folder: where the files of the heats' engines are.
    """

    report: ProbeReport
    heats: tuple[Heat, ...] = ()
    raced: bool = False
    folder: Path | None = None


class _Record(BaseModel):
    """A trial as it is kept."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    runtime: _Text
    weights_bytes: _Bytes
    contents: WireContents
    signatures: tuple[WireSignature, ...]
    refused: dict[_Text, _Text]
    memory_bytes: _Bytes
    peak_bytes: _Bytes
    load_s: _Seconds
    run_s: _Seconds
    crash: _Text
    heats: tuple[HeatMessage, ...]
    raced: bool

    @classmethod
    def of(cls, trial: Trial) -> Self:
        report = trial.report
        return cls(
            runtime=report.runtime,
            weights_bytes=report.weights_bytes,
            contents=WireContents.of(report.contents),
            signatures=tuple(
                WireSignature.of(each, report.call_paths[name]) for name, each in report.signatures.items()
            ),
            refused=dict(report.refused_signatures),
            memory_bytes=report.memory_bytes,
            peak_bytes=report.peak_bytes,
            load_s=report.load_s,
            run_s=report.run_s,
            crash=report.crash,
            heats=tuple(map(HeatMessage.of, trial.heats)),
            raced=trial.raced,
        )

    def trial(self, folder: Path) -> Trial:
        report = ProbeReport(
            contents=self.contents.contents(),
            runtime=self.runtime,
            weights_bytes=self.weights_bytes,
            signatures={each.name: each.signature() for each in self.signatures},
            call_paths={each.name: each.call_path for each in self.signatures},
            refused_signatures=self.refused,
            memory_bytes=self.memory_bytes,
            peak_bytes=self.peak_bytes,
            load_s=self.load_s,
            run_s=self.run_s,
            crash=self.crash,
        )
        return Trial(report, tuple(message.heat() for message in self.heats), self.raced, folder)


class KeptTrials:
    """Trials on disk. Constructing is free; the folder is made when it is first needed.

    Every method blocks and may be called from any thread.

    Args:
        folder: where; None to keep nothing longer than this object.
        limit_bytes: the most that is kept; what was used longest ago goes first. 0 keeps nothing, as without a folder.
    """

    def __init__(self, folder: Path | None, limit_bytes: int) -> None:
        self._folder = folder if limit_bytes else None
        self._limit_bytes = limit_bytes
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def alone(self, key: str, give_up: Callable[[], bool]) -> Iterator[None]:
        """Hold the lock of ``key`` against other threads and processes that try the same model.

        Waits for whoever has it, until ``give_up`` says that waiting is over; then, and where nothing is kept, goes on
        without.
        """
        folder = self._usable()
        if folder is None or not key or os.name != "posix":
            yield
            return
        import fcntl

        try:
            file = (folder / f"{key}.lock").open("ab")
        except OSError as error:
            log.warning("a model may be tried twice", folder=str(folder), reason=error.strerror)
            yield
            return
        with file:
            while not give_up():
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    time.sleep(_LOCK_POLL_S)
                    continue
                except OSError:  # a file system without locks: the model may be tried twice
                    pass
                break
            yield

    def find(self, key: str) -> Trial | None:
        """What was kept under ``key``; None where nothing is, or nothing that can be read."""
        folder = self._usable()
        if folder is None or not key:
            return None
        entry = folder / key
        record = entry / _RECORD
        try:
            if record.stat().st_size > _MAX_RECORD_BYTES:
                return None
            found = _Record.model_validate_json(record.read_bytes())
            os.utime(record)
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            log.warning("a kept trial cannot be read", folder=str(entry), reason=type(error).__name__)
            return None
        return found.trial(entry)

    def workplace(self, key: str) -> Path:
        """A new folder, for what is to be kept under ``key``; ``keep`` or ``discard`` it. Without a key it lasts as
        long as this object. Raises OSError where there is no room."""
        folder = self._usable() if key else None
        if folder is not None:
            with contextlib.suppress(OSError):
                return Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=folder))
        with self._lock:
            if self._scratch is None:
                self._scratch = tempfile.TemporaryDirectory(prefix="tensorhost-engines-", ignore_cleanup_errors=True)
        return Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=self._scratch.name))

    def set_aside(self, workplace: Path) -> Path:
        """Move a workplace to where it lasts as long as this object, instead of keeping it. Raises OSError."""
        aside = self.workplace("")
        for file in workplace.iterdir():
            shutil.move(file, aside)
        self.discard(workplace)
        return aside

    def discard(self, workplace: Path) -> None:
        """Remove a workplace that is not to be kept."""
        shutil.rmtree(workplace, ignore_errors=True)

    def keep(self, key: str, trial: Trial) -> Trial:
        """Keep ``trial``, whose folder is a workplace or None; the same with the folder where its files are now."""
        folder = self._usable()
        if folder is None or not key:
            return trial
        workplace = trial.folder
        try:
            workplace = workplace or self.workplace(key)
            (workplace / _RECORD).write_text(_Record.of(trial).model_dump_json(), encoding="utf-8")
            _reach_the_disk(workplace)
            entry = folder / key
            if entry.exists():
                shutil.rmtree(entry)
            workplace.rename(entry)
        except (OSError, ValidationError) as error:
            log.warning("a trial cannot be kept", folder=str(folder), reason=str(error))
            return trial
        with contextlib.suppress(OSError):  # another process clears up as well
            self._make_room(folder, entry)
        return replace(trial, folder=entry)

    def forget(self, key: str) -> None:
        """Drop what is kept under ``key``."""
        folder = self._usable()
        if folder is not None and key:
            shutil.rmtree(folder / key, ignore_errors=True)

    def close(self) -> None:
        """Remove what was not to be kept."""
        if self._scratch is not None:
            self._scratch.cleanup()
            self._scratch = None

    def _usable(self) -> Path | None:
        """The folder, made where it is missing; None where there is none that only we may write to."""
        folder = self._folder
        if folder is None:
            return None
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = folder.stat()
            if status.st_uid == os.geteuid() and not status.st_mode & _OTHERS_MAY_WRITE and os.access(folder, os.W_OK):
                return folder
            reason = "it must be writable, and belong to this user alone"
        except OSError as error:
            reason = error.strerror or "unusable"
        log.warning("trials of models are not kept", folder=str(folder), reason=reason)
        self._folder = None
        return None

    def _make_room(self, folder: Path, newest: Path) -> None:
        """Remove entries, the one used longest ago first, until the rest fits; and what a killed process left."""
        entries = []
        for entry in folder.iterdir():
            if entry.name.startswith(_PARTIAL):
                if time.time() - entry.stat().st_mtime > _ABANDONED_S:
                    shutil.rmtree(entry, ignore_errors=True)
            elif (entry / _RECORD).is_file():
                size_bytes = sum(file.stat().st_size for file in entry.rglob("*") if file.is_file())
                entries.append(((entry / _RECORD).stat().st_mtime, size_bytes, entry))
        total_bytes = sum(size_bytes for _, size_bytes, _ in entries)
        for _, size_bytes, entry in sorted(entries):
            if total_bytes <= self._limit_bytes:
                return
            if entry != newest:
                shutil.rmtree(entry, ignore_errors=True)
                total_bytes -= size_bytes


def _reach_the_disk(folder: Path) -> None:
    """Have the system write ``folder`` out: after a power cut no whole record must lie beside half a file."""
    for file in folder.iterdir():
        if file.is_file():
            with file.open("rb") as content:
                os.fsync(content.fileno())


def default_folder() -> Path | None:
    """Where trials are kept unless the operator says: in the user's folder for caches, if there is one."""
    root = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(root) if root else Path.home() / ".cache") / "tensorhost"
    except RuntimeError:  # a user without a home, as containers have them
        return None
