"""tensorhost's own HTTP API: JSON in, JSON out, camelCase."""

from tensorhost.frontends.native.app import HEALTH_PATHS, NativeApp

__all__ = ["HEALTH_PATHS", "NativeApp"]
