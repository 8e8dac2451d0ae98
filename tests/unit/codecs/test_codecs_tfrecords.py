import io

import pytest

from tensorhost.codecs.tfrecords import BrokenRecordError, _checksum, frame, read_records

RECORDS = [b"", b"one", b"\x00" * 5000]


def read(data: bytes, max_record_bytes: int = 10_000) -> list[bytes]:
    return list(read_records(io.BytesIO(data), max_record_bytes=max_record_bytes))


def test_records_come_back():
    assert read(b"".join(map(frame, RECORDS))) == RECORDS
    assert read(b"") == []


def test_a_frame_is_what_tensorflow_writes(tf, tmp_path):
    with tf.io.TFRecordWriter(str(tmp_path / "records")) as writer:
        for record in RECORDS:
            writer.write(record)
    assert (tmp_path / "records").read_bytes() == b"".join(map(frame, RECORDS))


def test_every_cut_is_noticed():
    whole = frame(b"first") + frame(b"second")
    for end in range(1, len(whole)):
        if end != len(frame(b"first")):
            with pytest.raises(BrokenRecordError, match="the file ends inside"):
                read(whole[:end])


def test_every_changed_byte_is_noticed():
    whole = frame(b"first") + frame(b"second")
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 1
        with pytest.raises(BrokenRecordError, match=f"record at byte {0 if position < 21 else 21}"):
            read(bytes(damaged))


def test_a_record_is_not_read_before_its_length_was_compared():
    with pytest.raises(BrokenRecordError, match="has 11 bytes; at most 10 are read"):
        read(frame(b"x" * 11), max_record_bytes=10)


def test_a_long_record_that_is_not_there_takes_no_memory():
    claims = head(2**40)
    with pytest.raises(BrokenRecordError, match="the file ends inside"):
        read(claims + b"little", max_record_bytes=2**41)


def head(length: int) -> bytes:
    """The head of a record of ``length`` bytes, with a checksum that is right."""
    packed = length.to_bytes(8, "little")
    return packed + _checksum(packed).to_bytes(4, "little")
