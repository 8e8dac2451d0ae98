"""CSV to JSON rows: what is a number, what a text, and what is no CSV."""

import csv
import io
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorhost.codecs.csv_rows import csv_rows
from tensorhost.core.errors import InvalidRequestError


@pytest.mark.parametrize(
    ("body", "written"),
    [
        (b"", b"[]"),
        (b"\n \t\r\n", b"[]"),
        (b"1,2\n3,4", b"[[1,2],[3,4]]"),
        (b"1,2\r\n\r\n3,4\r\n", b"[[1,2],[3,4]]"),
        (b"1,2\r3,4\r", b"[[1,2],[3,4]]"),
        (b"\xef\xbb\xbf1.0, 2e0", b"[[1.0,2e0]]"),
        (b'"1.5","-2"', b"[[1.5,-2]]"),
        # A column alone is its values, as SageMaker's container has it.
        (b"1\n2", b"[1,2]"),
        (b"red\nblue", b'["red","blue"]'),
        (b'"a,b"\n""\n', b'["a,b",""]'),
        # Digits stay what they are, more than a double holds among them.
        (b"9223372036854775807,18446744073709551615", b"[[9223372036854775807,18446744073709551615]]"),
        (b"0.1234567890123456789", b"[0.1234567890123456789]"),
        (b"+1,007,-00.50,.5,1.,-.5E+3", b"[[1,7,-0.50,0.5,1,-0.5e+3]]"),
        (b"nan,-NaN,inf,-Infinity,+inf", b"[[NaN,NaN,Infinity,-Infinity,Infinity]]"),
        # What only Python takes for a number is a text, and so are all with it.
        (b"1_0,2", b'[["1_0","2"]]'),
        ("١,2".encode(), '[["١","2"]]'.encode()),
        (b"0x1,2", b'[["0x1","2"]]'),
        (b"1,,2", b'[["1","","2"]]'),
        (b"1,2,", b'[["1","2",""]]'),
        (b"e5,.", b'[["e5","."]]'),
        (b"-,+", b'[["-","+"]]'),
        (b"a,b\n1,2", b'[["a","b"],["1","2"]]'),
        (b'"1,2",3', b'[["1,2","3"]]'),
        (b'x, "a,b"\n"say ""no""", 1', b'[["x","a,b"],["say \\"no\\"","1"]]'),
        (b'"two\n\nlines",1', b'[["two\\n\\nlines","1"]]'),
        (b"\x00,\x01", b'[["\\u0000","\\u0001"]]'),
    ],
)
def test_rows(body, written):
    assert csv_rows(body) == written


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"\xff\xfe", "The body is not valid CSV: 'utf-8' codec"),
        (b'"never closed', "The body is not valid CSV: unexpected end of data"),
        (b'"a"b,c', "The body is not valid CSV: ',' expected after '\"'"),
        (b"a" * 200_000 + b"\n", "The body is not valid CSV: field larger than field limit"),
        (b"1,2\n\n3\n", "The rows of the CSV differ: one of 1 values ends in line 3, those before it have 2."),
        (b'1\n"a\nb",2', "The rows of the CSV differ: one of 2 values ends in line 3, those before it have 1."),
    ],
)
def test_what_is_no_csv(body, message):
    with pytest.raises(InvalidRequestError) as caught:
        csv_rows(body)
    assert caught.value.message.startswith(message)


@given(st.lists(st.lists(st.text(alphabet='ab1,"\n\r .-\x00é', max_size=5), min_size=2, max_size=2), min_size=1))
def test_what_is_written_as_csv_is_read_as_it_was(rows):
    stream = io.StringIO(newline="")
    csv.writer(stream, quoting=csv.QUOTE_ALL).writerows(rows)
    read = json.loads(csv_rows(stream.getvalue().encode()))
    if isinstance(read[0][0], str):
        assert read == rows
    else:
        assert read == [[float(value) for value in row] for row in rows]


@given(st.lists(st.floats() | st.integers(), min_size=2))
def test_numbers_are_what_they_were(values):
    [read] = json.loads(csv_rows(",".join(map(repr, values)).encode()))
    assert all(one == other or (math.isnan(one) and math.isnan(other)) for one, other in zip(read, values, strict=True))


@given(st.binary(max_size=40) | st.text(alphabet='1.eE+-naif,"\n\r \t', max_size=40).map(str.encode))
def test_whatever_comes_is_json_or_refused(body):
    try:
        written = csv_rows(body)
    except InvalidRequestError:
        return
    assert isinstance(json.loads(written), list)
