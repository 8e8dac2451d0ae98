"""A page that shows the server and drives it, and what the page asks for."""

from tensorhost.frontends.dashboard.dashboard import Dashboard

__all__ = ["Dashboard"]
