"""An entry is read back whole or not at all, whatever happened to its file."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bncourse.lab import cache_folder
from bncourse.lab.cache import load_entry, store_entry

KEY, OTHER = "a" * 64, "b" * 64
PAYLOAD = bytes(range(256)) * 5


@pytest.fixture(autouse=True)
def _own_cache(own_cache):
    pass


def only_file(folder: Path) -> Path:
    (file,) = (path for path in folder.rglob("*") if path.is_file())
    return file


def test_an_entry_survives(own_cache):
    assert load_entry(KEY) is None
    store_entry(KEY, PAYLOAD)
    store_entry(OTHER, b"")
    assert load_entry(KEY) == PAYLOAD
    assert load_entry(OTHER) == b""
    assert sorted(path.suffix for path in (own_cache / "runs").iterdir()) == [".result", ".result"]


def test_the_later_of_two_entries_stays():
    store_entry(KEY, PAYLOAD)
    store_entry(KEY, b"later")
    assert load_entry(KEY) == b"later"


def test_an_entry_cut_short_anywhere_counts_as_missing(own_cache):
    store_entry(KEY, PAYLOAD)
    file = only_file(own_cache)
    whole = file.read_bytes()
    for length in [*range(60), len(whole) // 2, len(whole) - 1]:
        file.write_bytes(whole[:length])
        assert load_entry(KEY) is None
    file.write_bytes(whole)
    assert load_entry(KEY) == PAYLOAD


def test_an_entry_with_any_byte_changed_or_one_more_counts_as_missing(own_cache):
    """Catches a checksum over a part of the file only."""
    store_entry(KEY, PAYLOAD)
    file = only_file(own_cache)
    whole = file.read_bytes()
    for place in [*range(0, len(whole), 17), len(whole) - 1]:
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert load_entry(KEY) is None
    file.write_bytes(whole + b"\0")
    assert load_entry(KEY) is None


def test_a_damaged_entry_is_replaced(own_cache):
    store_entry(KEY, PAYLOAD)
    only_file(own_cache).write_bytes(b"half")
    store_entry(KEY, PAYLOAD)
    assert load_entry(KEY) == PAYLOAD


def test_a_writer_killed_half_way_leaves_nothing_that_is_read(own_cache):
    """The process stops for good when its file is written and not yet in place."""
    code = (
        "import os, signal\n"
        "from pathlib import Path\n"
        "from bncourse.lab.cache import store_entry\n"
        "Path.replace = lambda *arguments: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"store_entry({KEY!r}, b'payload')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert only_file(own_cache).suffix == ".part"
    assert load_entry(KEY) is None
    store_entry(KEY, PAYLOAD)
    assert load_entry(KEY) == PAYLOAD


def test_a_failed_write_leaves_no_file_behind(own_cache, monkeypatch):
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        store_entry(KEY, PAYLOAD)
    assert not list((own_cache / "runs").iterdir())


def test_writers_and_readers_of_one_entry_do_no_harm():
    """Each reader sees a whole payload of some writer, never a mixture."""
    payloads = [bytes([number]) * 200_000 for number in range(4)]
    store_entry(KEY, payloads[0])
    seen: set[bytes | None] = set()

    def write(payload: bytes) -> None:
        for _ in range(25):
            store_entry(KEY, payload)

    writers = [threading.Thread(target=write, args=(payload,)) for payload in payloads]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        seen.add(load_entry(KEY))
    assert seen <= set(payloads)


def test_where_a_file_in_use_cannot_be_replaced_an_equal_one_is_enough(monkeypatch):
    """Windows refuses to replace a file that another process reads."""
    store_entry(KEY, PAYLOAD)

    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(Path, "replace", refuse)
    store_entry(KEY, PAYLOAD)
    with pytest.raises(PermissionError):
        store_entry(KEY, b"another")


def test_the_folder_is_the_users_unless_the_environment_names_one(own_cache, monkeypatch):
    assert cache_folder() == own_cache
    monkeypatch.delenv("BNCOURSE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", os.fspath(own_cache / "home"))
    assert cache_folder().name == "bncourse"
    if sys.platform == "linux":
        assert cache_folder() == own_cache / "home" / "bncourse"
