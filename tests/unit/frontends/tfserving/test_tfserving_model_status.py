import pytest
from serving_records import add_model

from tensorhost.codecs.protobuf import message_class
from tensorhost.core.errors import ModelFailedError, OutOfMemoryError
from tensorhost.core.ids import ModelId
from tensorhost.frontends.rpc import RpcStatus
from tensorhost.frontends.tfserving.faults import ServingError
from tensorhost.frontends.tfserving.model_spec import ModelSpec
from tensorhost.frontends.tfserving.model_status import SERVING_STATE, ServingState, model_status
from tensorhost.models.manager import ModelManager
from tensorhost.models.states import VersionState


@pytest.fixture
def manager():
    return ModelManager()


def states(manager, **spec):
    return {each.version: each.state.name for each in model_status(manager, ModelSpec("m", **spec))}


def refusal(manager, **spec):
    with pytest.raises(ServingError) as refused:
        model_status(manager, ModelSpec("m", **spec))
    return refused.value.status, refused.value.message


def test_states_have_the_names_and_numbers_of_the_message():
    enum = message_class("tensorflow.serving.ModelVersionStatus").DESCRIPTOR.enum_types_by_name["State"]
    assert {value.name: value.number for value in enum.values} == {state.name: state.value for state in ServingState}
    assert SERVING_STATE.keys() == set(VersionState)


def test_all_versions_the_newest_first(manager):
    add_model(
        manager,
        policy="all",
        v2=VersionState.WARMING,
        v1=VersionState.AVAILABLE,
        v10=VersionState.NEW,
        v9=VersionState.DRAINING,
    )
    assert list(states(manager).items()) == [(10, "START"), (9, "UNLOADING"), (2, "LOADING"), (1, "AVAILABLE")]


def test_what_nobody_wants_is_not_told_of(manager):
    add_model(manager, v1=VersionState.NEW, v2=VersionState.AVAILABLE, v3=(VersionState.END, ModelFailedError("No.")))
    assert states(manager) == {3: "END", 2: "AVAILABLE"}


def test_a_version_that_failed_says_why(manager):
    error = ModelFailedError("Broken.")
    add_model(
        manager, v1=(VersionState.END, error), v2=(VersionState.NEW, OutOfMemoryError("Full.")), v3=VersionState.END
    )
    assert [each[2:] for each in model_status(manager, ModelSpec("m"))] == [
        (RpcStatus.OK, ""),
        (RpcStatus.RESOURCE_EXHAUSTED, "Full."),
        (RpcStatus.INTERNAL, "Broken."),
    ]
    assert states(manager)[2] == "LOADING"


def test_one_version_by_number_or_label(manager):
    add_model(manager, labels={"stable": "1"}, v1=VersionState.AVAILABLE, v2=VersionState.AVAILABLE)
    assert states(manager, version=2) == {2: "AVAILABLE"}
    assert states(manager, label="stable") == {1: "AVAILABLE"}


def test_versions_that_are_no_numbers_are_left_out(manager):
    add_model(manager, policy="all", labels={"odd": "1.2"}, v1_2=VersionState.AVAILABLE, v7=VersionState.AVAILABLE)
    assert states(manager) == {7: "AVAILABLE"}
    assert refusal(manager, label="odd") == (RpcStatus.NOT_FOUND, "Could not find any versions of model m")


def test_two_names_for_a_number_are_one_version(manager):
    add_model(manager, policy="all", v3=VersionState.AVAILABLE, v03=VersionState.NEW)
    assert states(manager) == {3: "AVAILABLE"}


def test_what_has_gone_for_good_is_told_of(manager):
    add_model(manager, v5=VersionState.AVAILABLE)
    manager._catalog.ended.note(ModelId("m", "4"), ModelFailedError("Broken."))
    manager._catalog.ended.note(ModelId("m", "5"), None)
    assert states(manager) == {5: "AVAILABLE", 4: "END"}
    del manager._catalog.models["m"]
    assert [each[1:] for each in model_status(manager, ModelSpec("m"))] == [
        (ServingState.END, RpcStatus.OK, ""),
        (ServingState.END, RpcStatus.INTERNAL, "Broken."),
    ]


def test_of_what_was_unloaded_the_newest_few_are_told_of_and_all_that_failed(manager):
    unloaded = {f"v{number}": VersionState.END for number in range(1, 31)}
    failed = {f"v{number}": (VersionState.END, ModelFailedError("Broken.")) for number in (3, 5)}
    add_model(manager, **(unloaded | failed), v40=VersionState.AVAILABLE)
    assert list(states(manager)) == [40, *range(30, 22, -1), 5, 3]
    assert states(manager, version=1) == {1: "END"}


def test_there_is_nothing_to_tell(manager):
    none = RpcStatus.NOT_FOUND, "Could not find any versions of model m"
    assert refusal(manager) == none
    add_model(manager, v1=VersionState.AVAILABLE)
    assert refusal(manager, version=9) == (RpcStatus.NOT_FOUND, "Could not find version 9 of model m")
    assert refusal(manager, label="x") == (RpcStatus.INVALID_ARGUMENT, "Unrecognized servable version label: x")
    add_model(manager)
    assert refusal(manager) == none
