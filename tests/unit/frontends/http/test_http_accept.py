import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorhost.frontends.http.accept import accepts_gzip, prefers_prometheus


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        (b"", False),
        (b"gzip", True),
        (b"GZIP", True),
        (b"x-gzip", True),
        (b"*", True),
        (b"br, gzip;q=0.1", True),
        (b"gzip;q=0", False),
        (b"gzip ; q=0.000", False),
        (b"*;q=0, gzip", True),
        (b"*, gzip;q=0", False),
        (b"deflate, br", False),
        (b"gzip;q=half", False),
        (b"not-gzip", False),
    ],
)
def test_accepts_gzip(header, accepted):
    assert accepts_gzip(header) is accepted


@pytest.mark.parametrize(
    ("header", "preferred"),
    [
        (b"", False),
        (b"*/*", False),
        (b"application/json", False),
        (b"text/plain", True),
        (b"TEXT/PLAIN; version=0.0.4", True),
        (b"text/plain, */*;q=0.1", True),
        (b"application/json, text/plain, */*", False),
        (b"application/json;q=0.4, text/plain;q=0.5", True),
        (b"application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3,*/*;q=0.2", True),
        (b"text/plain;q=0", False),
    ],
)
def test_prefers_prometheus(header, preferred):
    assert prefers_prometheus(header) is preferred


@given(st.binary(max_size=64))
def test_any_header_is_read(header):
    assert accepts_gzip(header) in (True, False)
    assert prefers_prometheus(header) in (True, False)
