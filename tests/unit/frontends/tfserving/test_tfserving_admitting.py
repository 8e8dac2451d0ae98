import asyncio
import math

import pytest
from serving_records import add_model
from tests.unit.inference.engine_bench import EngineBench

from tensorhost.core.errors import ModelFailedError, ModelNotReadyError, OutOfMemoryError, OverloadedError
from tensorhost.frontends.rpc import RpcStatus
from tensorhost.frontends.tfserving.admitting import admit
from tensorhost.frontends.tfserving.faults import ServingError
from tensorhost.frontends.tfserving.model_spec import ModelSpec
from tensorhost.inference import InferenceEngine
from tensorhost.models.manager import ModelManager
from tensorhost.models.states import VersionState

AVAILABLE = VersionState.AVAILABLE


class Asking:
    """A catalog, and what is admitted from it."""

    def __init__(self, **model):
        self.manager = ModelManager()
        self.engine = InferenceEngine(self.manager)
        if model:
            add_model(self.manager, **model)

    async def version(self, name="m", **spec):
        """The version that a request gets to, without borrowing it."""
        admitted = []
        self.engine.admit_at_once = lambda _name, version, _deadline: admitted.append(version)
        self.engine.admit = self._note
        await admit(self.engine, ModelSpec(name, **spec), math.inf)
        return self.manager.find(name, admitted[0]).id.version

    async def _note(self, *_target):
        return None

    async def refusal(self, name="m", **spec):
        with pytest.raises(ServingError) as refused:
            await admit(self.engine, ModelSpec(name, **spec), math.inf)
        return refused.value.status, refused.value.message


async def test_the_newest_a_number_or_a_label():
    asking = Asking(labels={"stable": "1"}, v1=AVAILABLE, v2=AVAILABLE)
    assert await asking.version() == "2"
    assert await asking.version(version=1) == "1"
    assert await asking.version(label="stable") == "1"


async def test_a_number_finds_other_spellings():
    asking = Asking(policy="all", v0007=AVAILABLE, vv8=AVAILABLE)
    assert await asking.version(version=7) == "0007"
    assert await asking.version(version=8) == "v8"


async def test_a_label_that_looks_like_a_number_is_no_version_and_the_reverse():
    asking = Asking(labels={"5": "1"}, v1=AVAILABLE, v2=AVAILABLE)
    assert await asking.refusal(version=5) == (RpcStatus.NOT_FOUND, "Servable not found for request: Specific(m, 5)")
    assert await asking.version(label="5") == "1"
    assert await asking.refusal(label="2") == (
        RpcStatus.INVALID_ARGUMENT,
        "Unrecognized servable version label: 2",
    )


@pytest.mark.parametrize(
    ("spec", "status", "message"),
    [
        ({"name": "foo"}, RpcStatus.NOT_FOUND, "Servable not found for request: Latest(foo)"),
        ({"name": "foo", "version": 9}, RpcStatus.NOT_FOUND, "Servable not found for request: Specific(foo, 9)"),
        ({"name": "foo", "label": "x"}, RpcStatus.INVALID_ARGUMENT, "Unrecognized servable version label: x"),
        ({"version": 9}, RpcStatus.NOT_FOUND, "Servable not found for request: Specific(m, 9)"),
        ({"version": -1}, RpcStatus.NOT_FOUND, "Servable not found for request: Specific(m, -1)"),
        ({"version": 3}, RpcStatus.NOT_FOUND, "Servable not found for request: Specific(m, 3)"),
        ({"version": 4}, RpcStatus.NOT_FOUND, "Servable not found for request: Specific(m, 4)"),
        ({"label": "gone"}, RpcStatus.NOT_FOUND, "Servable not found for request: Specific(m, 3)"),
        ({"label": "x"}, RpcStatus.INVALID_ARGUMENT, "Unrecognized servable version label: x"),
    ],
)
async def test_what_is_not_there(spec, status, message):
    failed = (VersionState.END, ModelFailedError("No."))
    asking = Asking(labels={"gone": "3"}, v1=AVAILABLE, v3=VersionState.END, v4=failed)
    assert await asking.refusal(**spec) == (status, message)


@pytest.mark.parametrize("state", [VersionState.NEW, VersionState.LOADING, VersionState.WARMING])
async def test_what_is_about_to_serve_may_be_asked_again(state):
    asking = Asking(v1=state)
    for spec in (ModelSpec("m"), ModelSpec("m", 1)):
        with pytest.raises(ModelNotReadyError):
            await admit(asking.engine, spec, math.inf)


@pytest.mark.parametrize(
    "version",
    [
        (VersionState.NEW, ModelFailedError("No.")),
        (VersionState.END, ModelFailedError("No.")),
        (VersionState.END, OutOfMemoryError("Full.")),
        VersionState.DRAINING,
        VersionState.UNLOADING,
        VersionState.END,
    ],
)
async def test_what_failed_or_leaves_is_not_found(version):
    asking = Asking(v1=version)
    assert await asking.refusal(version=1) == (RpcStatus.NOT_FOUND, "Servable not found for request: Specific(m, 1)")
    assert await asking.refusal() == (RpcStatus.NOT_FOUND, "Servable not found for request: Latest(m)")


async def test_what_lies_on_disk_and_nobody_wants_is_not_found():
    asking = Asking(v1=VersionState.NEW, v2=AVAILABLE)
    assert await asking.refusal(version=1) == (RpcStatus.NOT_FOUND, "Servable not found for request: Specific(m, 1)")


async def test_a_model_without_versions_or_with_a_problem_is_not_found():
    assert await Asking(name="m").refusal() == (RpcStatus.NOT_FOUND, "Servable not found for request: Latest(m)")
    asking = Asking(v1=VersionState.NEW)
    asking.manager.model("m").problem = "model.toml is broken."
    assert (await asking.refusal())[0] is RpcStatus.NOT_FOUND


async def test_before_the_first_look_nothing_is_unknown(tmp_path):
    async with ModelManager(repository=tmp_path) as manager:
        with pytest.raises(ModelNotReadyError):
            await admit(InferenceEngine(manager), ModelSpec("m"), math.inf)


@pytest.mark.looptime
async def test_an_admission_is_a_permit_and_a_lease():
    bench = EngineBench(batch_timeout_s=2.0, max_in_flight=1)
    with await admit(bench.engine, ModelSpec("m", 1), math.inf) as admission:
        assert admission.servable is bench.servable
        assert bench.engine.in_flight == bench.servable.leases == 1
        with pytest.raises(OverloadedError):
            await admit(bench.engine, ModelSpec("m"), math.inf)
    bench.check_idle()
    await asyncio.sleep(0)
