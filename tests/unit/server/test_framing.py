import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorhost.server.framing import Framing, FramingError, head_without_upgrade, split_target


def framing_of(*headers):
    framing = Framing()
    for name, value in headers:
        framing.note(name, value)
    return framing


def test_a_content_length_is_read_with_blanks_around_it():
    assert framing_of((b"content-length", b" 12\t")).content_length == 12


@pytest.mark.parametrize("value", [b"", b"+1", b"-1", b"1, 1", b"0x1", b"1_0", b"1.0", b"9" * 19, "١".encode()])
def test_a_content_length_that_is_not_digits_is_refused(value):
    with pytest.raises(FramingError, match="Content-Length"):
        framing_of((b"content-length", value))


def test_a_second_content_length_is_refused_even_when_equal():
    with pytest.raises(FramingError, match="Content-Length"):
        framing_of((b"content-length", b"1"), (b"content-length", b"1"))


@pytest.mark.parametrize("value", [b"gzip, chunked", b"chunked, chunked", b"xchunked", b"\x0bchunked", b""])
def test_a_transfer_encoding_but_chunked_is_refused(value):
    with pytest.raises(FramingError, match="Transfer-Encoding"):
        framing_of((b"transfer-encoding", value))


def test_chunked_is_read_in_any_case_but_only_once():
    assert framing_of((b"transfer-encoding", b"Chunked")).chunked
    with pytest.raises(FramingError, match="Transfer-Encoding"):
        framing_of((b"transfer-encoding", b"chunked"), (b"transfer-encoding", b"chunked"))


@pytest.mark.parametrize("version", ["0.9", "1.2", "2.0"])
def test_other_versions_are_refused(version):
    with pytest.raises(FramingError, match="version"):
        framing_of((b"host", b"h")).check(version)


def test_the_host_is_needed_once_and_optional_in_1_0():
    framing_of().check("1.0")
    framing_of((b"host", b"h")).check("1.1")
    for headers, version in (((), "1.1"), (((b"host", b"a"),) * 2, "1.1"), (((b"host", b"a"),) * 2, "1.0")):
        with pytest.raises(FramingError, match="Host"):
            framing_of(*headers).check(version)


_HEADER = st.one_of(
    st.tuples(st.just(b"content-length"), st.integers(0, 99).map(lambda n: b"%d" % n)),
    st.tuples(st.just(b"transfer-encoding"), st.sampled_from([b"chunked", b"gzip"])),
    st.tuples(st.just(b"host"), st.just(b"h")),
)


@given(st.lists(_HEADER, max_size=5), st.sampled_from(["1.0", "1.1"]))
def test_what_is_accepted_has_exactly_one_reading(headers, version):
    try:
        framing = framing_of(*headers)
        framing.check(version)
    except FramingError:
        return
    names = [name for name, _ in headers]
    assert names.count(b"content-length") + names.count(b"transfer-encoding") <= 1
    assert not (framing.chunked and framing.content_length is not None)


def test_reset_forgets_the_head_before():
    framing = framing_of((b"host", b"h"), (b"transfer-encoding", b"chunked"))
    framing.reset()
    framing.note(b"content-length", b"3")
    framing.note(b"host", b"h")
    framing.check("1.1")
    assert (framing.chunked, framing.content_length) == (False, 3)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"/a/b?c=d", ("/a/b", b"/a/b", b"c=d")),
        (b"/a%20b%2Fc", ("/a b/c", b"/a%20b%2Fc", b"")),
        (b"http://host", ("/", b"/", b"")),
        (b"http://host:1/x?y", ("/x", b"/x", b"y")),
    ],
)
def test_a_target_is_split(target, expected):
    assert split_target(target) == expected


@pytest.mark.parametrize("target", [b"host:80", b"", b"/\xc3\xa9", b"http://"])
def test_a_target_that_is_no_url_is_refused(target):
    with pytest.raises(FramingError, match="target"):
        split_target(target)


def test_a_head_is_rebuilt_without_its_upgrade():
    head = head_without_upgrade(b"POST", b"/x?y", "1.1", [(b"host", b"h"), (b"upgrade", b"h2c"), (b"a", b"b")])
    assert head == b"POST /x?y HTTP/1.1\r\nhost: h\r\na: b\r\n\r\n"


def test_a_target_too_long_to_be_remembered_is_split_the_same_way():
    path = b"/" + b"a" * 500
    assert split_target(path + b"?q") == (path.decode(), path, b"q")
    with pytest.raises(FramingError, match="target"):
        split_target(b"/" + b"\xc3" * 500)
