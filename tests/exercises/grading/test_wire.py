"""A message from the sandbox is what it says, or it is refused; reading it costs no more than its length."""

import io
import json
import struct
import tracemalloc
import zipfile
import zlib
from contextlib import suppress

import hypothesis
import hypothesis.extra.numpy
import hypothesis.strategies as st
import numpy as np
import pytest

from bncourse.exercises.grading import wire

pytestmark = pytest.mark.slow

ARRAYS = hypothesis.extra.numpy.arrays(
    st.sampled_from([np.float32, np.float64, np.longdouble, ">f8", np.int64, np.uint8]),
    hypothesis.extra.numpy.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
)


def npy(array, **options):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, **options)
    return buffer.getvalue()


def archive(members, compression=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name, content in members:
            file.writestr(name, content)
    return buffer.getvalue()


@hypothesis.given(st.dictionaries(st.sampled_from(["a", "b.0", "c"]), ARRAYS, max_size=3))
def test_what_is_packed_comes_out(arrays):
    document = {"text": "ä\x00", "number": 0.1, "list": [None, True]}
    message = wire.unpack(wire.pack(document, arrays))
    assert message.document == document
    assert message.arrays.keys() == arrays.keys()
    for name, array in arrays.items():
        got = message.arrays[name]
        assert got.shape == array.shape
        assert got.dtype == array.dtype
        np.testing.assert_array_equal(got, array)


def test_numpy_itself_reads_the_message():
    """The format is NumPy's .npz, not one of ours."""
    data = wire.pack({}, {"a": np.arange(3.0)})
    with np.load(io.BytesIO(data), allow_pickle=False) as loaded:
        np.testing.assert_array_equal(loaded["a"], [0, 1, 2])


@hypothesis.given(st.lists(st.binary(max_size=9), max_size=4), st.data())
def test_a_cut_stream_gives_the_whole_messages_before_the_cut(messages, data):
    stream = b"".join(map(wire.frame, messages))
    cut = data.draw(st.integers(0, len(stream)))
    got = list(wire.unframe(stream[:cut]))
    assert got == messages[: len(got)]
    assert list(wire.unframe(stream)) == messages


@hypothesis.given(st.binary(max_size=200))
def test_noise_is_refused(noise):
    with pytest.raises(wire.WireError):
        wire.unpack(noise)


@hypothesis.given(st.data())
def test_a_damaged_message_is_refused_or_still_sound(data):
    """Flips bytes of a true message: whatever comes out, it is an exception of one kind, or arrays of numbers."""
    message = bytearray(wire.pack({"exercise": "e"}, {"0.0": np.ones((2, 3)), "1.0": np.zeros(4, np.float32)}))
    for _ in range(data.draw(st.integers(1, 8))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    try:
        unpacked = wire.unpack(bytes(message))
    except wire.WireError:
        return
    assert all(array.dtype.kind in "fiu" for array in unpacked.arrays.values())


HUGE = npy(np.zeros(1)).replace(b"'shape': (1,)", b"'shape': (1099511627776,)").replace(b" " * 12, b"", 1)
FORGED = {
    "objects": [("document.json", "{}"), ("a.npy", npy(np.array([{}], dtype=object), allow_pickle=True))],
    "records": [("document.json", "{}"), ("a.npy", npy(np.zeros(2, dtype=[("x", "f8")])))],
    "text": [("document.json", "{}"), ("a.npy", npy(np.array(["nan"])))],
    "a size that is not there": [("document.json", "{}"), ("a.npy", HUGE)],
    "bytes too many": [("document.json", "{}"), ("a.npy", npy(np.zeros(2)) + b"\0")],
    "no array": [("document.json", "{}"), ("a.npy", b"none")],
    "no document": [("a.npy", npy(np.zeros(2)))],
    "a list for a document": [("document.json", "[]")],
    "nesting": [("document.json", "[" * 10**5)],
    "a number of many digits": [("document.json", '{"a": ' + "9" * 10**5 + "}")],
    "members without end": [("document.json", "{}"), *((f"{number}.npy", b"") for number in range(1001))],
}


@pytest.mark.parametrize("forgery", FORGED)
def test_a_forgery_is_refused(forgery):
    with pytest.raises(wire.WireError):
        wire.unpack(archive(FORGED[forgery]))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_is_there_twice_is_refused():
    with pytest.raises(wire.WireError, match="twice"):
        wire.unpack(archive([("document.json", "{}"), ("a.npy", npy(np.zeros(1))), ("a.npy", npy(np.ones(1)))]))


def test_a_zip_bomb_costs_no_memory():
    """Catches a reader that decompresses: 256 MiB of zeros take 256 KiB on the wire."""
    bomb = archive([("document.json", "{}"), ("a.npy", npy(np.zeros(2**25)))], zipfile.ZIP_DEFLATED)
    assert len(bomb) < 2**19
    tracemalloc.start()
    with pytest.raises(wire.WireError, match="compressed"):
        wire.unpack(bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**22


def test_members_inside_members_are_refused():
    """A forged archive may hold each member inside the one before: a thousand of them, each as large as the whole."""

    def header(name, content):
        return struct.pack(
            "<I5H3I2H", 0x04034B50, 20, 0, 0, 0, 0, zlib.crc32(content), *[len(content)] * 2, len(name), 0
        )

    inner, members = bytes(2**16), []
    for number in range(50):
        name = f"{number:02}.npy".encode()
        members.append((name, inner))
        inner = header(name, inner) + name + inner
    document = (b"document.json", b"{}")
    local = header(*document) + document[0] + document[1]
    directory = b""
    for name, content in (document, *members):
        offset = 0 if name == document[0] else len(local) + len(inner) - len(content) - len(name) - 30
        directory += struct.pack(
            "<I6H3I5H2I",
            0x02014B50,
            20,
            20,
            0,
            0,
            0,
            0,
            zlib.crc32(content),
            *[len(content)] * 2,
            len(name),
            *[0] * 5,
            offset,
        )
        directory += name
    tail = struct.pack("<I4H2IH", 0x06054B50, 0, 0, 51, 51, len(directory), len(local) + len(inner), 0)
    forged = local + inner + directory + tail
    with (
        zipfile.ZipFile(io.BytesIO(forged)) as file,
        suppress(zipfile.BadZipFile),
    ):  # newer Pythons refuse it themselves
        assert sum(len(file.read(member)) for member in file.infolist()) > 40 * len(forged), "the forgery works"
    with pytest.raises(wire.WireError, match=r"more bytes than it has|Overlapped"):
        wire.unpack(forged)


def test_the_document_is_json():
    assert json.loads(zipfile.ZipFile(io.BytesIO(wire.pack({"a": 1}, {}))).read(wire.DOCUMENT)) == {"a": 1}
