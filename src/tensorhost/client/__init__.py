"""Talks to a running tensorhost server from Python.

It knows the native HTTP API and nothing of the server's rooms: importing it costs an HTTP library, not a model
runtime. It holds one connection pool and keeps no other state.
"""

from tensorhost.client.client import Client
from tensorhost.client.errors import ClientError, ServerUnreachableError

__all__ = ["Client", "ClientError", "ServerUnreachableError"]
