from __future__ import annotations

from pathlib import Path

import pytest

from tensorhost.core.errors import InvalidRequestError
from tensorhost.models.sources import local_path


@pytest.mark.parametrize(
    ("source", "path"),
    [
        ("models/m", "models/m"),
        (Path("/models/m"), "/models/m"),
        ("file:///models/m", "/models/m"),
        ("file://localhost/models/m", "/models/m"),
        ("file://./models/m", "models/m"),
        ("file://../models/m", "../models/m"),
        ("file:///a%20b", "/a b"),
    ],
)
def test_a_path_or_a_file_url(source, path):
    assert local_path(source) == Path(path)


@pytest.mark.parametrize("source", ["http://host/m", "s3://bucket/m", "file://elsewhere/m", "file://[broken/m"])
def test_anything_else_is_refused(source):
    with pytest.raises(InvalidRequestError, match="source"):
        local_path(source)
