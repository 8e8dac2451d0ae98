import asyncio
import os

from hypothesis import settings

# Otherwise pytest-asyncio makes a loop only to remember it as the old one, and nobody closes it: a ResourceWarning
# whenever the garbage collector comes across it.
asyncio.set_event_loop(None)

# What a test says about runtimes and about what is kept must not depend on what is installed, nor on earlier runs.
os.environ.setdefault("TENSORHOST_RUNTIME", "native")
os.environ.setdefault("TENSORHOST_CACHE_SIZE", "0")

# Servers of tests run beside each other, and do not meet on gRPC's well-known port.
os.environ.setdefault("TENSORHOST_GRPC_PORT", "0")

# How long an example takes says how busy the machine is.
settings.register_profile("tensorhost", deadline=None)
settings.load_profile("tensorhost")
