"""Request logs: who is sampled, what is written, how files follow each other, and what a disk that takes none does."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tensorhost.codecs.protobuf import message_class
from tensorhost.codecs.tfrecords import BrokenRecordError, read_records
from tensorhost.frontends.tfserving.request_log import LoggedMethod, RequestLog, request_log, writer
from tensorhost.frontends.tfserving.request_log.files import FileLimits, LogFiles
from tensorhost.frontends.tfserving.request_log.writer import LogWriter, Record
from tensorhost.models.listed import ListedModel, RequestLogOptions
from tensorhost.models.warmup_records import FILE, MOST_RECORDS, read_warmup_records
from tensorhost.settings import Settings
from tensorhost.telemetry.serving_calls import ServingCalls

LARGE = FileLimits(size_bytes=2**20, files=0)
Log: Any = message_class("tensorflow.serving.PredictionLog")
PredictRequest: Any = message_class("tensorflow.serving.PredictRequest")
Spec: Any = message_class("tensorflow.serving.ModelSpec")


def records(path: Path) -> list[bytes]:
    with path.open("rb") as stream:
        return list(read_records(stream, max_record_bytes=2**30))


def written(folder: Path) -> list[list[bytes]]:
    return [records(path) for path in sorted(folder.iterdir())]


@pytest.fixture
def log_files():
    """Makes ``LogFiles`` that are closed in the end."""
    with contextlib.ExitStack() as open_files:

        def make(prefix: Path, limits: FileLimits = LARGE, **options: Any) -> LogFiles:
            files = LogFiles(prefix, limits, **options)
            open_files.callback(files.pause)
            return files

        yield make


# -- files -------------------------------------------------------------------------------------------------------------


def test_records_go_on_in_one_file_also_after_a_pause(log_files, tmp_path):
    files = log_files(tmp_path / "deep" / "log", clock=lambda: 0)
    files.write([b"one", b"two"])
    files.pause()
    files.pause()
    files.write([b"three"])
    (path,) = (tmp_path / "deep").iterdir()
    assert path.name == f"log-19700101T000000Z-{os.getpid()}-000001.tfrecord"
    assert records(path) == [b"one", b"two", b"three"]
    assert path.stat().st_mode & 0o007 == 0


def test_a_full_file_is_followed_by_another(log_files, tmp_path):
    files = log_files(tmp_path / "log", FileLimits(size_bytes=100, files=0))
    files.write([b"x" * 60] * 5)
    assert list(map(len, written(tmp_path))) == [2, 2, 1]


def test_no_file_has_more_records_than_a_warm_up_file_may_have(log_files, tmp_path):
    files = log_files(tmp_path / "log")
    files.write([b"x"] * (MOST_RECORDS + 1))
    assert list(map(len, written(tmp_path))) == [MOST_RECORDS, 1]


def test_old_files_go_and_those_of_others_stay(log_files, tmp_path):
    other = [tmp_path / name for name in ("log", "log-notes.tfrecord", "logs-20200101T000000Z-1-000001.tfrecord")]
    in_use = tmp_path / "log-20200101T000000Z-1-000001.tfrecord"
    for path in (*other, in_use):
        path.touch()
    files = log_files(tmp_path / "log", FileLimits(size_bytes=1, files=2), clock=lambda: 2e9)
    os.utime(in_use, (2e9 - 5, 2e9 - 5))
    for index in range(4):
        files.write([b"%d" % index])
        for path in tmp_path.glob("log-2033*"):
            os.utime(path, (2e9 - 100, 2e9 - 100))
    assert {path.name for path in tmp_path.iterdir()} >= {path.name for path in (*other, in_use)}
    assert [records(path) for path in sorted(tmp_path.glob("log-2033*"))] == [[b"2"], [b"3"]]


def test_a_file_that_somebody_removed_is_not_missed(log_files, tmp_path):
    files = log_files(tmp_path / "log")
    files.write([b"one"])
    next(tmp_path.iterdir()).unlink()
    files.pause()
    files.write([b"two"])
    assert written(tmp_path) == [[b"two"]]


def test_after_a_failure_the_next_record_begins_a_new_file(log_files, tmp_path, monkeypatch):
    files = log_files(tmp_path / "log")
    files.write([b"one"])
    with monkeypatch.context() as patch:
        patch.setattr("tensorhost.frontends.tfserving.request_log.files.frame", _no_space)
        with pytest.raises(OSError, match="No space"):
            files.write([b"two"])
    files.write([b"three"])
    assert written(tmp_path) == [[b"one"], [b"three"]]


def _no_space(_record: bytes) -> bytes:
    raise OSError(28, "No space left on device")


def test_the_reader_tells_a_file_that_ends_inside_a_record(log_files, tmp_path):
    files = log_files(tmp_path / "log")
    files.write([b"one", b"two"])
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BrokenRecordError):
        records(path)


# -- writer ------------------------------------------------------------------------------------------------------------


def test_every_record_is_written_and_reported_once(tmp_path):
    reports: Counter[tuple[str, str]] = Counter()
    log = LogWriter(LARGE, lambda model, outcome, count: reports.update({(model, outcome): count}))
    for index in range(300):
        assert log.put(Record(f"m{index % 2}", tmp_path / f"log{index % 3}" / "x", b"%d" % index))
    log.close()
    assert reports == {("m0", "written"): 150, ("m1", "written"): 150}
    for log_number in range(3):
        (found,) = written(tmp_path / f"log{log_number}")
        assert found == [b"%d" % index for index in range(log_number, 300, 3)]


def test_nothing_is_taken_after_the_close_and_without_records_there_is_no_thread(tmp_path):
    before = threading.active_count()
    log = LogWriter(LARGE, lambda *_: None)
    assert threading.active_count() == before
    log.close()
    assert not log.put(Record("m", tmp_path / "x", b""))
    assert list(tmp_path.iterdir()) == []


def test_what_waits_has_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "MOST_WAITING_BYTES", 10)
    begun, go_on = threading.Event(), threading.Event()

    def slow(self, records):
        begun.set()
        assert go_on.wait(20)

    monkeypatch.setattr(LogFiles, "write", slow)
    reports: list[tuple[str, str, int]] = []
    log = LogWriter(LARGE, lambda *report: reports.append(report))
    assert log.put(Record("m", tmp_path, b"12345"))
    assert begun.wait(20)
    assert log.put(Record("m", tmp_path, b"12345"))  # what is being written counts until it is
    assert not log.put(Record("m", tmp_path, b"1"))
    go_on.set()
    log.close()
    assert sum(count for *_, count in reports) == 2


def test_a_disk_that_takes_nothing_is_said_once_and_counted(tmp_path, caplog):
    (tmp_path / "file").write_bytes(b"")
    reports: Counter[str] = Counter()
    done = threading.Semaphore(0)

    def report(_model, outcome, count):
        reports[outcome] += count
        done.release()

    log = LogWriter(LARGE, report)
    for _ in range(3):
        assert log.put(Record("m", tmp_path / "file" / "inside", b"x"))
        assert done.acquire(timeout=20)
    log.close()
    assert reports == {"failed": 3}
    assert [record.levelname for record in caplog.records if "cannot be written" in record.getMessage()] == ["ERROR"]


def test_a_disk_that_hangs_does_not_hold_up_the_close(tmp_path, monkeypatch):
    go_on = threading.Event()
    monkeypatch.setattr(LogFiles, "write", lambda self, records: go_on.wait(20))
    log = LogWriter(LARGE, lambda *_: None)
    log.put(Record("m", tmp_path, b"x"))
    log.close(timeout_s=0.01)
    go_on.set()
    log.close()


# -- the log -----------------------------------------------------------------------------------------------------------


class World:
    """A manager with a list of models, as far as the log asks for it."""

    def __init__(self, **options: RequestLogOptions | None) -> None:
        self.metrics = SimpleNamespace(serving_calls=ServingCalls())
        self.listed = options

    def models(self) -> dict[str, Any]:
        return {
            name: SimpleNamespace(listed=ListedModel(name, Path("/m"), request_log=options))
            for name, options in self.listed.items()
        } | {"unlisted": SimpleNamespace(listed=None)}

    @property
    def logged(self) -> dict[tuple[str, str], int]:
        return self.metrics.serving_calls.logged


def make_log(world: World) -> RequestLog:
    return RequestLog(world, Settings.model_construct(), clock=lambda: 1234.5)  # type: ignore[arg-type]


def test_only_models_whose_list_says_so_are_sampled(tmp_path):
    log = make_log(World(logged=RequestLogOptions(1.0, tmp_path / "x"), silent=None))
    assert [log.sample(name) for name in ("logged", "silent", "unlisted", "unknown")] == [True, False, False, False]


def test_chance_decides_by_the_rate(tmp_path, monkeypatch):
    log = make_log(World(m=RequestLogOptions(0.25, tmp_path / "x")))
    drawn = iter([0.0, 0.2499, 0.25, 0.9])
    monkeypatch.setattr(request_log.random, "random", lambda: next(drawn))
    assert [log.sample("m") for _ in range(4)] == [True, True, False, False]


async def test_what_is_written_is_a_prediction_log_and_a_warm_up_file(tmp_path):
    world = World(m=RequestLogOptions(1.0, tmp_path / "logs" / "m"))
    log = make_log(world)
    request = PredictRequest(model_spec={"name": "m", "version_label": "stable"})
    request.inputs["x"].dtype = 1
    request.inputs["x"].float_val.append(2.5)
    answered = Spec(name="m", version={"value": 7}, signature_name="serving_default")
    log.write(
        "m",
        LoggedMethod.PREDICT,
        model_spec=answered.SerializeToString(),
        request=request.SerializeToString(),
        response=b"\x12\x03\x0a\x01m",
    )
    await log.close(20)
    ((data,),) = written(tmp_path / "logs")
    entry = Log.FromString(data)
    assert entry.predict_log.request == request
    assert entry.predict_log.response.model_spec.name == "m"
    assert entry.log_metadata.model_spec == answered
    assert entry.log_metadata.sampling_config.sampling_rate == 1
    assert list(entry.log_metadata.saved_model_tags) == ["serve"]
    assert entry.log_metadata.timestamp_secs == 1234
    await asyncio.sleep(0)
    assert world.logged == {("m", "written"): 1}

    (tmp_path / "version" / FILE).parent.mkdir(parents=True)
    next((tmp_path / "logs").iterdir()).rename(tmp_path / "version" / FILE)
    (record,) = read_warmup_records(tmp_path / "version")
    assert record.inputs["x"] == 2.5


async def test_what_is_dropped_is_counted_and_no_request_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "MOST_WAITING_BYTES", 1)
    world = World(m=RequestLogOptions(1.0, tmp_path / "x"))
    log = make_log(world)
    log.write("m", LoggedMethod.CLASSIFY, model_spec=b"", request=b"abc", response=b"")
    assert world.logged == {("m", "dropped"): 1}
    await log.close(20)


async def test_a_model_that_left_the_list_meanwhile_is_not_logged(tmp_path):
    world = World(m=RequestLogOptions(1.0, tmp_path / "x"))
    log = make_log(world)
    assert log.sample("m")
    world.listed.clear()
    log.write("m", LoggedMethod.REGRESS, model_spec=b"", request=b"", response=b"")
    await log.close(20)
    assert list(tmp_path.iterdir()) == []
