import pytest

from tensorhost.frontends.versions import LARGEST, name_for, number_of


@pytest.mark.parametrize(
    ("version", "number"),
    [
        ("3", 3),
        ("v3", 3),
        ("0003", 3),
        ("v003", 3),
        ("0", 0),
        (str(LARGEST), LARGEST),
        ("0" * 40 + "7", 7),
        (str(LARGEST + 1), None),
        ("9" * 64, None),
        ("9" * 128, None),
        ("1.2.0", None),
        ("3-rc1", None),
        ("vv3", None),
        ("V3", None),
        ("", None),
        ("v", None),
        ("٣", None),
        ("3\n", None),
        ("-1", None),
    ],
)
def test_what_number_a_version_has(version, number):
    assert number_of(version) == number


@pytest.mark.parametrize(
    ("versions", "name"),
    [
        (["1", "3", "v3"], "3"),
        (["v3", "0003"], "v3"),
        (["003", "0003"], "003"),
        (["1", "2"], None),
        (["1.2.0"], None),
        ([], None),
    ],
)
def test_which_version_a_number_means(versions, name):
    assert name_for(3, versions) == name
    assert name_for(3, reversed(versions)) == name


def test_no_version_has_a_number_below_zero():
    assert name_for(-1, ["1", "-1"]) is None
