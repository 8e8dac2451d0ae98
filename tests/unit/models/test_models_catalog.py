from __future__ import annotations

from pathlib import Path

import pytest

from tensorhost.core.errors import (
    InvalidRequestError,
    ModelFailedError,
    ModelNotFoundError,
    ModelNotReadyError,
    OutOfMemoryError,
    VersionNotFoundError,
)
from tensorhost.core.ids import ModelId
from tensorhost.models.catalog import Catalog
from tensorhost.models.config import ModelConfig
from tensorhost.models.repository import ModelOnDisk, Scan, VersionOnDisk
from tensorhost.models.states import VersionState
from tensorhost.runtimes.base import ModelFormat
from tensorhost.settings import Settings


def files(version, *, size=10, problem=""):
    return VersionOnDisk(version, Path("/r/m") / version, ModelFormat.SAVED_MODEL, size, 1.0, problem)


def on_disk(*versions, name="m", problem="", readable=True, **config):
    found = {each.version: each for each in versions}
    return ModelOnDisk(name, Path("/r/m"), ModelConfig(**config), found, problem, readable)


def seen(*models, **problems):
    return Scan(models={model.name: model for model in models}, problems=problems)


@pytest.fixture
def catalog():
    return Catalog(Settings())


def test_what_the_disk_shows_is_taken_over(catalog):
    catalog.absorb(seen(on_disk(files("1"), files("2"), loading="lazy"), bad="No model."))
    assert [str(record.id) for record in catalog.records()] == ["m/1", "m/2"]
    assert catalog.model("m").lazy
    assert catalog.problems == {"bad": "No model."}
    assert catalog.count_states()["NEW"] == 2


def test_what_vanished_is_forgotten_unless_it_still_serves(catalog):
    catalog.absorb(seen(on_disk(files("1"), files("2"))))
    serving, idle = catalog.version("m", "1"), catalog.version("m", "2")
    serving.servable = object()
    assert catalog.absorb(seen()) == [ModelId("m", "2")]
    assert serving.vanished
    assert idle not in catalog.records()
    serving.servable = None
    assert catalog.absorb(seen()) == [ModelId("m", "1")]
    assert catalog.models == {}


def test_what_is_busy_is_not_forgotten(catalog):
    catalog.absorb(seen(on_disk(files("1"))))
    catalog.version("m", "1").busy = True
    assert catalog.absorb(seen()) == []
    assert catalog.version("m", "1").vanished


def test_what_comes_back_has_not_vanished(catalog):
    catalog.absorb(seen(on_disk(files("1"))))
    catalog.version("m", "1").busy = True
    catalog.absorb(seen())
    catalog.absorb(seen(on_disk(files("1"))))
    assert not catalog.version("m", "1").vanished


def test_changed_files_are_forgiven(catalog):
    catalog.absorb(seen(on_disk(files("1"))))
    record = catalog.version("m", "1")
    record.attempts, record.next_attempt_at = 3, 1e9
    catalog.absorb(seen(on_disk(files("1"))))
    assert record.attempts == 3
    catalog.absorb(seen(on_disk(files("1", size=11))))
    assert record.attempts == 0
    assert record.next_attempt_at < 0


def test_a_broken_configuration_leaves_the_last_good_one(catalog):
    catalog.absorb(seen(on_disk(files("1"), version_labels={"stable": "1"})))
    catalog.absorb(seen(on_disk(files("1"), problem="model.toml is not valid.")))
    assert catalog.model("m").problem == "model.toml is not valid."
    assert catalog.model("m").version_labels == {"stable": "1"}
    catalog.absorb(seen(on_disk(files("1"))))
    assert not catalog.model("m").problem
    assert catalog.model("m").version_labels == {}


def test_of_an_unreadable_model_nothing_is_changed(catalog):
    catalog.absorb(seen(on_disk(files("1"))))
    assert catalog.absorb(seen(on_disk(problem="It cannot be read.", readable=False))) == []
    assert not catalog.version("m", "1").vanished
    assert catalog.model("m").problem == "It cannot be read."


def test_an_unreadable_root_changes_nothing(catalog):
    catalog.absorb(seen(on_disk(files("1"))))
    catalog.unreadable(Path("/r/models"))
    assert catalog.problems == {"models": "The model path cannot be read."}
    assert not catalog.version("m", "1").vanished


def test_an_explicit_model_is_no_business_of_the_disk(catalog):
    record = catalog.add_explicit("mine", "v1", on_disk(files("7")))
    assert record.id == ModelId("mine", "v1")
    catalog.absorb(seen(on_disk(files("9"), name="mine")))
    assert [str(each.id) for each in catalog.records()] == ["mine/v1"]


@pytest.mark.parametrize(
    ("name", "version", "found", "error", "message"),
    [
        ("m", None, on_disk(files("1")), InvalidRequestError, "belongs to the repository"),
        ("x", None, on_disk(problem="model.toml is not valid."), ModelFailedError, "model.toml is not valid"),
        ("x", None, on_disk(files("1"), files("2")), InvalidRequestError, "name one of them"),
        ("x", "3", on_disk(files("1"), files("2")), InvalidRequestError, "name one of them"),
        ("x", None, on_disk(files("1", problem="Files are missing.")), ModelFailedError, "Files are missing"),
    ],
)
def test_a_path_that_cannot_be_taken_in_leaves_nothing_behind(catalog, name, version, found, error, message):
    catalog.absorb(seen(on_disk(files("1"))))
    with pytest.raises(error, match=message):
        catalog.add_explicit(name, version, found)
    assert list(catalog.models) == ["m"]


def test_one_of_several_versions_can_be_named(catalog):
    assert catalog.add_explicit("x", "2", on_disk(files("1"), files("2"))).on_disk.version == "2"


def test_errors_list_what_there_is(catalog):
    with pytest.raises(ModelNotFoundError, match=r"no model 'x'; no model is known\."):
        catalog.model("x")
    catalog.absorb(
        seen(on_disk(files("1"), files("10"), files("9"), version_labels={"stable": "9"}), on_disk(name="a"))
    )
    with pytest.raises(ModelNotFoundError, match=r"no model 'x'; there are: a, m\.") as unknown:
        catalog.version("x", None)
    assert unknown.value.details == {"models": ["a", "m"]}
    with pytest.raises(VersionNotFoundError, match=r"'7'; versions: 10, 9, 1; labels: stable\."):
        catalog.version("m", "7")
    assert catalog.version("m", "stable").id.version == "9"
    assert catalog.version("m", None).id.version == "10"


def test_names_in_errors_are_cut(catalog):
    with pytest.raises(ModelNotFoundError) as raised:
        catalog.model("x" * 10_000)
    assert len(raised.value.message) < 300


def test_a_model_without_versions_says_why(catalog):
    catalog.absorb(seen(on_disk(problem="There is no version in the model's folder.")))
    with pytest.raises(ModelNotReadyError, match="There is no version") as raised:
        catalog.version("m", None)
    assert raised.value.retry_after_s == 1.0


def reason(catalog, **changes) -> str:
    catalog.absorb(seen(on_disk(files("1"))))
    record = catalog.version("m", "1")
    for name, value in changes.items():
        setattr(record, name, value)
    return catalog.not_ready(record).message.removeprefix("Model 'm' version '1' is not available: ")


def test_why_a_version_does_not_serve(catalog):
    assert reason(catalog) == "it is NEW."
    assert reason(catalog, state=VersionState.WARMING) == "it is WARMING."
    assert reason(catalog, stopped=True) == "it was unloaded."
    assert reason(catalog, error=ModelFailedError("It is broken.")) == "it failed to load: It is broken."
    catalog.absorb(seen(on_disk(files("2", problem="Files are missing."))))
    with pytest.raises(ModelNotReadyError, match="Files are missing"):
        catalog.version("m", None)


def test_out_of_memory_keeps_its_code(catalog):
    catalog.absorb(seen(on_disk(files("1"))))
    record = catalog.version("m", "1")
    record.error = OutOfMemoryError("It needs too much.", details={"neededBytes": 5})
    error = catalog.not_ready(record)
    assert isinstance(error, OutOfMemoryError)
    assert error.details == {"neededBytes": 5}
