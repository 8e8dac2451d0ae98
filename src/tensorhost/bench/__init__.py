"""Puts load on a running server or on a model of its own, and counts what comes of it.

The load comes from processes of its own (``generator``), seen from the command through ``Generators``. It shows
nothing to anybody and knows no command line.
"""

from tensorhost.bench.generators import GeneratorError, Generators
from tensorhost.bench.plan import HttpTarget, Load, ModelTarget

__all__ = ["GeneratorError", "Generators", "HttpTarget", "Load", "ModelTarget"]
