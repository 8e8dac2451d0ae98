"""The server as a process: sockets, limits, signals, and the order in which things start and stop."""

from tensorhost.server.assembly import run
from tensorhost.server.http import HttpServer

__all__ = ["HttpServer", "run"]
