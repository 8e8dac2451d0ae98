"""The Open Inference Protocol over HTTP, under ``/v2``."""

from tensorhost.frontends.oip.rest.app import RestApp

__all__ = ["RestApp"]
