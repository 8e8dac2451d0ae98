"""Dynamic batching: a pure assembler that decides, and a thin asyncio queue that drives it."""

from tensorhost.batching.assembler import Assembler, Batch, CloseReason, Entry, Slice
from tensorhost.batching.queue import BatchQueue, QueueOptions, Waiter

__all__ = ["Assembler", "Batch", "BatchQueue", "CloseReason", "Entry", "QueueOptions", "Slice", "Waiter"]
