"""tensorhost's own HTTP API: JSON in, JSON out, camelCase."""

from tensorhost.frontends.native.app import NativeApp

__all__ = ["NativeApp"]
