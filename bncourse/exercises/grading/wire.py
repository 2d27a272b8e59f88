"""Carries arrays and a JSON document between the grader and the sandbox, as one ``.npz`` archive a message.

What comes out of the sandbox was made by somebody's code, so reading it executes nothing, allocates nothing that the
message does not hold already, and believes no header: only uncompressed members, arrays of plain numbers whose size is
that of the bytes behind them, and ``allow_pickle=False`` throughout.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

DOCUMENT = "document.json"
MAX_MEMBERS = 1000
MAX_DIMENSIONS = 8
LENGTH_BYTES = 8


class WireError(ValueError):
    """A message is not one that :func:`pack` makes."""


class Message(NamedTuple):
    """What one message holds.

    Attributes
    ----------
    document : a JSON object.
    arrays : numeric arrays by name.
    """

    document: dict[str, Any]
    arrays: dict[str, np.ndarray]


def pack(document: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
    """One message, as an ``.npz`` archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(DOCUMENT, json.dumps(document))
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, array, version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def unpack(message: bytes) -> Message:
    """Read one message, made by anybody.

    Raises
    ------
    WireError : if it is anything else than what :func:`pack` makes.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(message)) as archive:
            members = archive.infolist()
            if len(members) > MAX_MEMBERS:
                raise WireError(f"it has {len(members)} members, more than {MAX_MEMBERS}")
            contents: dict[str, bytes] = {}
            for member in members:
                if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
                    raise WireError(f"its member {member.filename!r} is compressed")
                if member.filename in contents:
                    raise WireError(f"its member {member.filename!r} is there twice")
                # Members may overlap in a forged archive; together they still may not exceed what was sent.
                if sum(map(len, contents.values())) + member.file_size > len(message):
                    raise WireError("its members claim more bytes than it has")
                contents[member.filename] = archive.read(member)
        document = json.loads(contents.pop(DOCUMENT))
    except WireError:
        raise
    except (
        zipfile.BadZipFile,
        KeyError,
        ValueError,
        RecursionError,
        NotImplementedError,
        RuntimeError,
        OSError,
    ) as error:
        raise WireError(f"it is not an archive with a document: {error}") from error
    except EOFError as error:
        raise WireError("it ends too early") from error
    if not isinstance(document, dict):
        raise WireError("its document is not an object")
    return Message(document, {name.removesuffix(".npy"): _read_array(name, data) for name, data in contents.items()})


def frame(message: bytes) -> bytes:
    """A message with its length before it, so that several can follow each other."""
    return len(message).to_bytes(LENGTH_BYTES, "big") + message


def unframe(stream: bytes) -> Iterator[bytes]:
    """The messages of a stream; one that is cut off at the end is left out."""
    start = 0
    while start + LENGTH_BYTES <= len(stream):
        length = int.from_bytes(stream[start : start + LENGTH_BYTES], "big")
        start += LENGTH_BYTES
        if start + length > len(stream):
            return
        yield stream[start : start + length]
        start += length


def _read_array(name: str, data: bytes) -> np.ndarray:
    """An array from the bytes of an ``.npy`` file, whose header must agree with the number of bytes that follow."""
    stream = io.BytesIO(data)
    try:
        if np.lib.format.read_magic(stream) != (1, 0):
            raise WireError(f"{name!r} is not of version 1.0 of the format")
        shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(stream)
    except WireError:
        raise
    except Exception as error:  # the header is parsed as a Python literal, which can fail in many ways
        raise WireError(f"{name!r} has no header that NumPy can read") from error
    if dtype.kind not in "fiu" or dtype.hasobject:
        raise WireError(f"{name!r} is of dtype {dtype}")
    if len(shape) > MAX_DIMENSIONS or any(type(size) is not int or size < 0 for size in shape):
        raise WireError(f"{name!r} has no sensible shape")
    body = data[stream.tell() :]
    if math.prod(shape) * dtype.itemsize != len(body):
        raise WireError(f"{name!r} claims another size than it has")
    array = np.frombuffer(body, dtype)
    return array.reshape(shape, order="F" if fortran_order else "C")
