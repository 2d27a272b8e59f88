"""What is returned has the right hash, what stops is continued, and what fails says why."""

import gzip
import hashlib
import socket
import threading
from pathlib import Path

import numpy as np
import pytest

from bncourse.lab import DownloadError, cache_folder
from bncourse.lab.download import RemoteFile, fetch
from tests.lab.server import Page, serving

CONTENT = np.random.default_rng(1).bytes(300_000)
HASH = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def _own_cache(own_cache):
    pass


@pytest.fixture
def server():
    with serving() as running:
        yield running


def get(server, *paths: str, sha256: str = HASH) -> Path:
    return fetch(RemoteFile("file.bin", sha256, tuple(server.url(path) for path in paths)), "set")


def folder() -> Path:
    return cache_folder() / "data" / "set"


def parts() -> list[Path]:
    return list(folder().glob("*.part"))


def test_a_file_is_downloaded_once(server):
    server.pages["a"] = Page(CONTENT)
    path = get(server, "a")
    assert path == folder() / "file.bin"
    assert path.read_bytes() == CONTENT
    assert get(server, "a") == path
    assert server.requests == [("a", None)]
    assert not parts()


def test_a_download_that_stops_goes_on_where_it_stopped(server):
    """Catches one that begins anew, and one that takes half a file for the whole."""
    server.pages["a"] = Page(CONTENT, cuts=[100_000, 50_000])
    for have in (100_000, 150_000):
        with pytest.raises(DownloadError, match=f"ended after {have} of 300000 bytes; the next call goes on"):
            get(server, "a")
        assert parts()[0].read_bytes() == CONTENT[:have]
        assert not (folder() / "file.bin").exists()
    assert get(server, "a").read_bytes() == CONTENT
    assert server.requests == [("a", None), ("a", "bytes=100000-"), ("a", "bytes=150000-")]
    assert not parts()


def test_a_second_address_goes_on_where_the_first_stopped(server):
    server.pages["a"] = Page(CONTENT, cuts=[100_000])
    server.pages["b"] = Page(CONTENT)
    assert get(server, "a", "b").read_bytes() == CONTENT
    assert server.requests == [("a", None), ("b", "bytes=100000-")]


def test_a_server_without_ranges_sends_the_file_from_its_start(server):
    """Catches the whole file appended to its own beginning."""
    server.pages["a"] = Page(CONTENT, ranges=False, cuts=[100_000])
    with pytest.raises(DownloadError):
        get(server, "a")
    assert get(server, "a").read_bytes() == CONTENT
    assert server.requests[1:] == [("a", "bytes=100000-")]


def test_a_part_that_is_whole_but_was_never_moved_needs_no_more_bytes(server):
    """A process may be killed between the last byte and the move: there is nothing left to ask for."""
    server.pages["a"] = Page(CONTENT, cuts=[100_000])
    with pytest.raises(DownloadError):
        get(server, "a")
    parts()[0].write_bytes(CONTENT)
    assert get(server, "a").read_bytes() == CONTENT
    assert server.requests[1:] == [("a", "bytes=300000-")]


@pytest.mark.parametrize("length", [100_000, 300_000, 400_000])
def test_a_damaged_part_is_thrown_away(server, length):
    server.pages["a"] = Page(CONTENT, cuts=[100_000])
    with pytest.raises(DownloadError):
        get(server, "a")
    parts()[0].write_bytes(b"x" * length)
    assert get(server, "a").read_bytes() == CONTENT
    assert server.requests[1:] == [("a", f"bytes={length}-"), ("a", None)]


def test_a_part_of_another_version_is_not_continued(server):
    server.pages["a"] = Page(CONTENT, cuts=[100_000])
    with pytest.raises(DownloadError):
        get(server, "a")
    other = CONTENT[::-1]
    server.pages["a"] = Page(other)
    assert get(server, "a", sha256=hashlib.sha256(other).hexdigest()).read_bytes() == other
    assert server.requests[1:] == [("a", None)]


@pytest.mark.parametrize("sent", [CONTENT[:-1], CONTENT[:-1] + b"\0", CONTENT + b"\0", b"", b"<html>Log in</html>"])
def test_a_file_with_another_hash_is_refused_and_not_kept(server, sent):
    server.pages["a"] = Page(sent)
    with pytest.raises(DownloadError, match="not the file, or damaged: the SHA-256 is another") as caught:
        get(server, "a")
    assert HASH in str(caught.value)
    assert [path.name for path in folder().iterdir()] in ([], ["file.bin.lock"])
    assert len(server.requests) == 1


def test_a_wrong_file_at_the_first_address_is_had_from_the_second(server):
    server.pages["a"] = Page(CONTENT[:-1])
    server.pages["b"] = Page(CONTENT)
    assert get(server, "a", "b").read_bytes() == CONTENT


def test_a_file_that_was_damaged_here_is_replaced(server):
    server.pages["a"] = Page(CONTENT)
    path = get(server, "a")
    path.write_bytes(CONTENT[:1000])
    assert get(server, "a").read_bytes() == CONTENT
    path.write_bytes(CONTENT[:1000])
    del server.pages["a"]
    with pytest.raises(DownloadError):
        get(server, "a")


def test_a_file_put_there_by_hand_needs_no_network(server):
    folder().mkdir(parents=True)
    (folder() / "file.bin").write_bytes(CONTENT)
    assert get(server, "nowhere").read_bytes() == CONTENT
    assert not server.requests


def test_bytes_are_taken_as_sent_though_the_server_calls_them_compressed(server):
    """Catches a .gz file that is unpacked on the way: its hash would be another."""
    content = gzip.compress(CONTENT)
    server.pages["a"] = Page(content, headers={"Content-Encoding": "gzip"})
    assert get(server, "a", sha256=hashlib.sha256(content).hexdigest()).read_bytes() == content


def test_every_address_is_named_with_what_went_wrong_there(server):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{unused.getsockname()[1]}/file"
    server.pages["b"] = Page(b"", status=503)
    file = RemoteFile("file.bin", HASH, (closed, server.url("a"), server.url("b")))
    with pytest.raises(DownloadError) as caught:
        fetch(file, "set")
    message = str(caught.value)
    assert f"{closed}: no connection; is this machine offline?" in message
    assert f"{server.url('a')}: the server answered 404" in message
    assert f"{server.url('b')}: the server answered 503" in message
    assert f"put the file into {folder()} yourself" in message


def test_a_server_that_does_not_answer_is_given_up(monkeypatch):
    monkeypatch.setattr("bncourse.lab.download.SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        file = RemoteFile("file.bin", HASH, (f"http://127.0.0.1:{silent.getsockname()[1]}/a",))
        with pytest.raises(DownloadError, match=r"no answer within 0\.2 s"):
            fetch(file, "set")


def test_of_several_that_want_a_file_one_downloads_it(server):
    server.pages["a"] = Page(CONTENT)
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda: found.append(get(server, "a").read_bytes())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [CONTENT] * 4
    assert len(server.requests) == 1


def test_a_bar_is_shown_only_where_asked_for(server, capsys):
    server.pages["a"] = Page(CONTENT)
    get(server, "a")
    assert "%" not in capsys.readouterr().err
    (folder() / "file.bin").unlink()
    fetch(RemoteFile("file.bin", HASH, (server.url("a"),)), "set", progress=True)
    assert "file.bin: 100%" in capsys.readouterr().err
