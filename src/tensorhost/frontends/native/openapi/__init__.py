"""The native API described: as an OpenAPI document for programs, as a page for people. Both are built once, of code."""

from tensorhost.frontends.native.openapi.pages import ApiPages

__all__ = ["ApiPages"]
