"""Dynamic batching: a pure assembler that decides, and a thin asyncio queue that drives it."""

from tensorhost.batching.assembler import Assembler
from tensorhost.batching.costs import CostCurve
from tensorhost.batching.entries import Batch, CloseReason, Entry, Slice
from tensorhost.batching.execution import Waiter
from tensorhost.batching.inlining import Inlining
from tensorhost.batching.options import QueueOptions
from tensorhost.batching.pace import Pace, PaceReport
from tensorhost.batching.padding import Padding, Span
from tensorhost.batching.queue import BatchQueue

__all__ = [
    "Assembler",
    "Batch",
    "BatchQueue",
    "CloseReason",
    "CostCurve",
    "Entry",
    "Inlining",
    "Pace",
    "PaceReport",
    "Padding",
    "QueueOptions",
    "Slice",
    "Span",
    "Waiter",
]
