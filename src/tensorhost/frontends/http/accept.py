"""What a client accepts, by its ``Accept`` and ``Accept-Encoding`` headers. Of broken headers, what can be read."""

from __future__ import annotations

_PROMETHEUS_TYPES = (b"text/plain", b"application/openmetrics-text")


def accepts_gzip(accept_encoding: bytes) -> bool:
    """Whether a response may be compressed with gzip. What names gzip counts more than ``*``."""
    accepted = _qualities(accept_encoding)
    for coding in (b"gzip", b"x-gzip", b"*"):
        if coding in accepted:
            return accepted[coding] > 0
    return False


def prefers_prometheus(accept: bytes) -> bool:
    """Whether metrics are wanted in a Prometheus form rather than as JSON.

    Prometheus names its types. Many HTTP clients name ``application/json`` and then ``text/plain`` too: those get JSON.
    """
    accepted = _qualities(accept)
    text = max(accepted.get(kind, 0.0) for kind in _PROMETHEUS_TYPES)
    return text > accepted.get(b"application/json", 0.0)


def prefers_html(accept: bytes) -> bool:
    """Whether whoever asks is a browser that shows pages: those name ``text/html``, and nothing above it."""
    accepted = _qualities(accept)
    html = accepted.get(b"text/html", 0.0)
    return html > 0 and html >= max(accepted.values())


def _qualities(header: bytes) -> dict[bytes, float]:
    """The highest ``q`` of each value the header lists, 1 where it gives none, 0 where it cannot be read."""
    found: dict[bytes, float] = {}
    for part in header.lower().split(b","):
        value, *parameters = part.split(b";")
        name = value.strip()
        if name:
            found[name] = max(found.get(name, 0.0), _quality(parameters))
    return found


def _quality(parameters: list[bytes]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition(b"=")
        if name.strip() == b"q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
