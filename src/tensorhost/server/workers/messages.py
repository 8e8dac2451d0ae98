"""What the supervisor and its workers say to each other: JSON, one message a line, over a socket pair.

A worker runs strangers' models in its own process, so what it says is checked like anything from the network: types,
sizes, known names. What must stay true: a message is read as it was written or not at all.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Generic, Literal, Self, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from tensorhost.core.errors import InternalError
from tensorhost.inference.process_state import ProcessState
from tensorhost.models.listed import ListedModel, ModelList, RequestLogOptions
from tensorhost.models.policy import VersionPolicy
from tensorhost.models.probe_messages import Failed
from tensorhost.models.wishes import Action, Wish
from tensorhost.server.workers.change_messages import Change, StateMessage
from tensorhost.server.workers.claims import ClaimKind
from tensorhost.server.workers.message_base import Message
from tensorhost.settings import Settings
from tensorhost.telemetry.history import LATEST, Past, Sample
from tensorhost.telemetry.view_message import ErrorMessage, ViewMessage

MAX_LINE_BYTES = 64 * 2**20
"""Longest message: the metrics of a thousand versions make some megabytes."""

_MAX_TEXT = 8192
_MAX_SETTINGS = 2**20
_MAX_SAMPLE = 2**20

_Id = Annotated[int, Field(ge=0, lt=2**62)]
_Text = Annotated[str, Field(max_length=_MAX_TEXT)]
_SampleText = Annotated[str, Field(max_length=_MAX_SAMPLE)]
_M = TypeVar("_M")


class ListedMessage(Message):
    """A ``ListedModel`` that can be sent. ``latest`` and ``specific`` are its policy; ``policy`` whether it has one."""

    name: _Text
    base_path: _Text
    policy: bool
    latest: _Id | None
    specific: frozenset[_Text] | None
    labels: dict[_Text, _Text]
    sampling_rate: Annotated[float, Field(ge=0, le=1)]
    filename_prefix: _Text

    @classmethod
    def of(cls, model: ListedModel) -> Self:
        """The message about ``model``."""
        policy = model.policy or VersionPolicy()
        logged = model.request_log or RequestLogOptions(0.0, Path())
        return cls(
            name=model.name,
            base_path=str(model.base_path),
            policy=model.policy is not None,
            latest=policy.latest,
            specific=policy.specific,
            labels=dict(model.labels),
            sampling_rate=logged.sampling_rate,
            filename_prefix=str(logged.filename_prefix),
        )

    def model(self) -> ListedModel:
        """The model that was sent."""
        return ListedModel(
            self.name,
            Path(self.base_path),
            VersionPolicy(self.latest, self.specific) if self.policy else None,
            self.labels,
            RequestLogOptions(self.sampling_rate, Path(self.filename_prefix)) if self.sampling_rate else None,
        )


class WishMessage(Message):
    """A ``Wish`` that can be sent."""

    action: Action
    name: _Text
    version: _Text | None = None
    source: _Text | None = None
    label: _Text | None = None
    models: tuple[ListedMessage, ...] = ()
    labels_may_wait: bool = False

    @classmethod
    def of(cls, wish: Wish) -> Self:
        """The message about ``wish``."""
        return cls(
            action=wish.action,
            name=wish.name,
            version=wish.version,
            source=None if wish.source is None else str(wish.source),
            label=wish.label,
            models=tuple(map(ListedMessage.of, wish.models)),
            labels_may_wait=wish.labels_may_wait,
        )

    def wish(self) -> Wish:
        """The wish that was sent."""
        source = None if self.source is None else Path(self.source)
        models = tuple(each.model() for each in self.models)
        return Wish(self.action, self.name, self.version, source, self.label, models, self.labels_may_wait)


# -- to a worker ---------------------------------------------------------------------------------------------------


class Begin(Message):
    """The first message: all a worker must know. ``settings`` are JSON and hold the token, hence not a command line.

    ``models`` is the list to serve, None for what lies in the model path. ``state`` is None where it is as the settings
    say.
    """

    type: Literal["begin"] = "begin"
    worker: _Id
    workers: _Id
    settings: Annotated[str, Field(max_length=_MAX_SETTINGS)]
    models: tuple[ListedMessage, ...] | None = None
    wishes: tuple[WishMessage, ...]
    state: StateMessage | None = None

    @classmethod
    def of(
        cls,
        worker: int,
        workers: int,
        settings: Settings,
        wishes: tuple[Wish, ...],
        models: ModelList | None = None,
        state: ProcessState | None = None,
    ) -> Self:
        """The message for worker number ``worker`` of ``workers``."""
        return cls(
            worker=worker,
            workers=workers,
            settings=settings.to_json(),
            models=None if models is None else tuple(map(ListedMessage.of, models)),
            wishes=tuple(map(WishMessage.of, wishes)),
            state=None if state is None else StateMessage.of(state),
        )


class Accept(Message):
    """Take HTTP connections from these of the listening sockets, and from no others.

    Attributes:
        serving: whether the worker is to serve at all, be it gRPC alone.
    """

    type: Literal["accept"] = "accept"
    sockets: tuple[_Id, ...]
    serving: bool


class Readiness(Message):
    """Whether the server as a whole is ready."""

    type: Literal["readiness"] = "readiness"
    ready: bool


class CarryOut(Message):
    """Do what an operator asked for, whichever worker he asked; to be answered by ``Done``."""

    type: Literal["carry_out"] = "carry_out"
    id: _Id
    wish: WishMessage


class MakeChange(Message):
    """Change what all processes have in common; to be answered by ``Done``. The file of a region came before it."""

    type: Literal["make_change"] = "make_change"
    id: _Id
    change: Change


class Report(Message):
    """Say what the metrics are; to be answered by ``Reported``."""

    type: Literal["report"] = "report"
    id: _Id


class Answered(Message):
    """All workers have done what ``Ask`` or ``AskChange`` asked for, or why not."""

    type: Literal["answered"] = "answered"
    id: _Id
    failure: Failed | None = None


class Collected(Message):
    """The metrics of the whole server; answers ``Collect``."""

    type: Literal["collected"] = "collected"
    id: _Id
    view: ViewMessage


class SampleMessage(Message):
    """A ``Sample`` that can be sent."""

    sequence: _Id
    json_text: _SampleText

    @classmethod
    def of(cls, sample: Sample) -> Self:
        """The message about ``sample``."""
        return cls(sequence=sample.sequence, json_text=sample.json.decode())

    def sample(self) -> Sample:
        """The sample that was sent."""
        return Sample(self.sequence, self.json_text.encode())


class Recalled(Message):
    """What happened lately in the whole server; answers ``Recall``."""

    type: Literal["recalled"] = "recalled"
    id: _Id
    fine: tuple[SampleMessage, ...]
    coarse: tuple[SampleMessage, ...]
    errors: tuple[ErrorMessage, ...]

    @classmethod
    def of(cls, number: int, past: Past) -> Self:
        """The message about ``past``."""
        return cls(
            id=number,
            fine=tuple(map(SampleMessage.of, past.fine)),
            coarse=tuple(map(SampleMessage.of, past.coarse)),
            errors=tuple(map(ErrorMessage.of, past.errors)),
        )

    def past(self) -> Past:
        """What was sent."""
        return Past(
            tuple(each.sample() for each in self.fine),
            tuple(each.sample() for each in self.coarse),
            tuple(each.error() for each in self.errors),
        )


class Granted(Message):
    """A claim is granted."""

    type: Literal["granted"] = "granted"
    id: _Id


class Stop(Message):
    """Drain and end."""

    type: Literal["stop"] = "stop"


ToWorker = Accept | Readiness | CarryOut | MakeChange | Report | Answered | Collected | Recalled | Granted | Stop

# -- to the supervisor ---------------------------------------------------------------------------------------------


class Hello(Message):
    """The worker can take connections and messages; its models may still be loading."""

    type: Literal["hello"] = "hello"


class Ready(Message):
    """The worker has acted on what it found and was told at its start: ``models`` serve, of ``known`` in all."""

    type: Literal["ready"] = "ready"
    models: tuple[_Text, ...]
    known: _Id


class Done(Message):
    """What became of ``CarryOut`` or ``MakeChange``. ``added`` are versions that serve now and did not before."""

    type: Literal["done"] = "done"
    id: _Id
    failure: Failed | None = None
    added: tuple[_Text, ...] = ()


class Ask(Message):
    """An operator asked this worker; to be answered by ``Answered`` when all have done it."""

    type: Literal["ask"] = "ask"
    id: _Id
    wish: WishMessage


class AskChange(Message):
    """A client asked this worker to change what all have in common; to be answered by ``Answered`` when all have it."""

    type: Literal["ask_change"] = "ask_change"
    id: _Id
    change: Change


class Collect(Message):
    """Somebody reads the metrics; to be answered by ``Collected``."""

    type: Literal["collect"] = "collect"
    id: _Id


class Recall(Message):
    """Somebody watches the server; to be answered by ``Recalled`` with the samples above these numbers."""

    type: Literal["recall"] = "recall"
    id: _Id
    fine_after: Annotated[int, Field(ge=LATEST)] = -1
    coarse_after: Annotated[int, Field(ge=LATEST)] = -1


class Reported(Message):
    """The metrics of this worker; answers ``Report``."""

    type: Literal["reported"] = "reported"
    id: _Id
    view: ViewMessage


class Claim(Message):
    """Let it be this worker's turn; to be answered by ``Granted``."""

    type: Literal["claim"] = "claim"
    id: _Id
    kind: ClaimKind


class Release(Message):
    """A claim is given back."""

    type: Literal["release"] = "release"
    id: _Id


ToSupervisor = Hello | Ready | Done | Ask | AskChange | Collect | Recall | Reported | Claim | Release


class Reader(Generic[_M]):
    """Reads one side's messages."""

    def __init__(self, kinds: Any) -> None:
        self._adapter: TypeAdapter[_M] = TypeAdapter(kinds)

    def read(self, line: bytes) -> _M:
        """One message. Raises InternalError for anything else."""
        try:
            return self._adapter.validate_json(line)
        except ValidationError as error:
            raise InternalError("no message", log_detail=str(error)[:_MAX_TEXT]) from error


read_begin: Reader[Begin] = Reader(Begin)
read_by_worker: Reader[ToWorker] = Reader(Annotated[ToWorker, Field(discriminator="type")])
read_by_supervisor: Reader[ToSupervisor] = Reader(Annotated[ToSupervisor, Field(discriminator="type")])
