"""Protocol Buffers' wire format: values by hand, and everything that two parsers could read in two ways."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lilliput.guards import protobuf
from lilliput.guards.protobuf import BYTES, FIXED32, FIXED64, VARINT, Malformed

SCHEMA = {
    1: ("number", VARINT, False),
    2: ("text", BYTES, False),
    3: ("numbers", VARINT, True),
    4: ("floats", FIXED32, True),
    5: ("double", FIXED64, False),
}


def read(data):
    return protobuf.read(data, (0, len(data)), SCHEMA)


def test_values_by_hand():
    # Field 1 is 150: 0x96 0x01 (the example of the encoding's own page); field 2 is "hi"; field 5 takes 8 bytes.
    data = b"\x08\x96\x01" + b"\x12\x02hi" + b"\x29" + bytes(8)
    assert read(data) == {"number": 150, "text": (5, 7), "double": (8, 16)}
    assert read(b"") == {}
    assert read(b"\x08" + b"\xff" * 9 + b"\x01") == {"number": -1}  # 64 ones
    assert read(b"\x18\x01\x18\x02") == {"numbers": [1, 2]}
    assert read(b"\x1a\x02\x01\x02\x18\x03") == {"numbers": [(2, 4), 3]}  # a packed run, then one alone
    assert read(b"\x25" + bytes(4)) == {"floats": [(1, 5)]}


def test_packed_numbers():
    data = b"\x1a\x04\x01\x96\x01\x02\x18\x03"
    assert protobuf.whole_numbers(data, read(data)["numbers"], 4) == [1, 150, 2, 3]
    with pytest.raises(Malformed, match="more than 3"):
        protobuf.whole_numbers(data, read(data)["numbers"], 3)
    with pytest.raises(Malformed, match="cut off"):
        protobuf.whole_numbers(b"\x80", [(0, 1)], 3)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x08", "cut off"),
        (b"\x08\x80", "cut off"),
        (b"\x08" + b"\xff" * 10, "too long"),
        (b"\x08" + b"\xff" * 9 + b"\x7f", "too long"),  # 70 bits
        (b"\x12\x03hi", "text: cut off"),
        (b"\x12\xff\xff\xff\xff\x7f", "text: cut off"),
        (b"\x29" + bytes(7), "double: cut off"),
        (b"\x08\x01\x08\x02", "number is there twice"),
        (b"\x12\x00\x12\x00", "text is there twice"),
        (b"\x0a\x00", "number: wire type 2"),
        (b"\x10\x00", "text: wire type 0"),
        (b"\x0b\x0c", "wire type 3"),  # a group
        (b"\x78\x00", "field 15 is unknown"),
        (b"\x00\x00", "field 0 is unknown"),
    ],
)
def test_what_is_malformed(data, words):
    with pytest.raises(Malformed, match=words):
        read(data)


def test_crowded_messages(monkeypatch):
    monkeypatch.setattr(protobuf, "FIELDS", 10)
    assert len(read(b"\x18\x01" * 9)["numbers"]) == 9
    with pytest.raises(Malformed, match="more than 10 fields"):
        read(b"\x18\x01" * 10)


@given(st.binary(max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_read_or_malformed(data):
    try:
        found = read(data)
    except Malformed:
        return
    assert all(
        0 <= start <= end <= len(data) for start, end in [found.get("text", (0, 0)), found.get("double", (0, 0))]
    )
