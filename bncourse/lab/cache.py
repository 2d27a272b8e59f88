"""Results kept on disk under a key, each written whole or not at all."""

import hashlib
import os
import tempfile
from pathlib import Path

MARK = b"bncourse result 1\n"


def cache_folder() -> Path:
    """The folder ``BNCOURSE_CACHE`` where that is set, else the user's cache folder; what it holds can be had again."""
    if folder := os.environ.get("BNCOURSE_CACHE"):
        return Path(folder)
    from platformdirs import user_cache_path

    return user_cache_path("bncourse", appauthor=False)


def load_entry(key: str) -> bytes | None:
    """What was stored under a key; None if nothing was, or if the file is not what was written."""
    try:
        content = _path(key).read_bytes()
    except OSError:
        return None
    head, payload = content[: len(MARK) + 32], content[len(MARK) + 32 :]
    return payload if head == MARK + hashlib.sha256(payload).digest() else None


def store_entry(key: str, payload: bytes) -> None:
    """Keep bytes under a key: written aside first, then moved into place.

    Of two processes that store the same key, the later one's file stays.

    Raises
    ------
    OSError : if the folder cannot be written.
    """
    path = _path(key)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, aside = tempfile.mkstemp(dir=path.parent, prefix=path.stem[:16], suffix=".part")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(MARK + hashlib.sha256(payload).digest() + payload)
        Path(aside).replace(path)
    except BaseException as error:
        Path(aside).unlink(missing_ok=True)
        # Windows does not move a file over one that another process is reading: then that one is there and whole.
        if not isinstance(error, PermissionError) or load_entry(key) != payload:
            raise


def _path(key: str) -> Path:
    return cache_folder() / "runs" / f"{key}.result"
