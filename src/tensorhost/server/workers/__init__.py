"""Several processes as one server: a supervisor, and workers that serve the same models on the same port."""

from tensorhost.server.workers.supervisor import Supervisor

__all__ = ["Supervisor"]
