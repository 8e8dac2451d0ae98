import asyncio

# Otherwise pytest-asyncio makes a loop only to remember it as the old one, and nobody closes it: a ResourceWarning
# whenever the garbage collector comes across it.
asyncio.set_event_loop(None)
