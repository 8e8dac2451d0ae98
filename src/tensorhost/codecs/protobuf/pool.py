"""The descriptors of every message tensorhost speaks, in a pool of their own.

Never the default pool: TensorFlow and tensorflow-serving-api register the same names there, and live in this process
when a model needs them. Messages of this pool and of theirs therefore meet as bytes only.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from google.protobuf import any_pb2, wrappers_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass


def _load() -> DescriptorPool:
    pool = DescriptorPool()
    for well_known in (any_pb2, wrappers_pb2):
        pool.AddSerializedFile(well_known.DESCRIPTOR.serialized_pb)
    compiled = files(__package__).joinpath("descriptors.binpb").read_bytes()
    for file in FileDescriptorSet.FromString(compiled).file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool


POOL: DescriptorPool = _load()
"""Messages and services of TensorFlow Serving, gRPC's health protocol and TensorFlow's profiler."""


@cache
def message_class(full_name: str) -> type[Message]:
    """The class of a message, by its full name (``tensorflow.serving.PredictRequest``).

    Raises:
        KeyError: the pool has no such message.
    """
    return GetMessageClass(POOL.FindMessageTypeByName(full_name))
