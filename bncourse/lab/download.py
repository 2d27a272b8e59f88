"""Files from the network: checked by their hash, and fetched from where the last attempt stopped."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bncourse.lab.cache import cache_folder

SECONDS = 30
BLOCK = 2**16


@dataclass(frozen=True)
class RemoteFile:
    """A file, and where it can be had.

    Attributes
    ----------
    name : of the file here.
    sha256 : of its content, in hexadecimal digits.
    addresses : tried in this order; all serve the same bytes.
    """

    name: str
    sha256: str
    addresses: tuple[str, ...]


class DownloadError(RuntimeError):
    """A file could not be had from any of its addresses; the message says what went wrong at each."""


def fetch(file: RemoteFile, folder: str, progress: bool = False) -> Path:
    """The path of a file whose content has the right hash, downloaded unless it is there.

    A download that stops half-way keeps what has come, under a name of its own, and the next call asks for the rest.
    Of several processes that want a file, one downloads it and the others wait.

    Parameters
    ----------
    file : what to get.
    folder : name of the folder under the cache's ``data`` in which it is kept.
    progress : whether to show a bar.

    Raises
    ------
    DownloadError : if no address gives the file; nothing that was damaged is ever returned.
    ImportError : if pooch is not installed.
    """
    try:
        import pooch
    except ImportError as error:
        raise ImportError("downloads need pooch, which is not installed: pip install 'bncourse[lab]'") from error
    from filelock import FileLock

    place = cache_folder() / "data" / folder
    path = place / file.name
    if path.is_file() and pooch.file_hash(str(path)) == file.sha256:
        return path
    place.mkdir(parents=True, exist_ok=True)
    problems = []
    with FileLock(place / f"{file.name}.lock"):
        for address in file.addresses:
            problem = _try(file, address, place, progress)
            if problem is None:
                return path
            problems.append(f"  {address}: {problem}")
    raise DownloadError(
        "\n".join(
            [
                f"{file.name} could not be downloaded:",
                *problems,
                f"Try again later, or put the file into {place} yourself; its SHA-256 is {file.sha256}. "
                f"bncourse.lab.digits() needs no network.",
            ]
        )
    )


def _try(file: RemoteFile, address: str, place: Path, progress: bool) -> str | None:
    """Download from one address; what went wrong, or None. A file pieced together and damaged is asked for anew."""
    import pooch
    import requests

    while True:
        download = _Resuming(place / f"{file.name}.{file.sha256[:8]}.part", progress)
        try:
            pooch.retrieve(address, f"sha256:{file.sha256}", fname=file.name, path=place, downloader=download)
        except requests.exceptions.Timeout:
            return f"no answer within {SECONDS} s"
        except requests.exceptions.RequestException:
            return "no connection; is this machine offline?"
        except _UnfinishedError as error:
            return str(error)
        except ValueError:
            if download.resumed:
                continue
            return "what it sent is not the file, or damaged: the SHA-256 is another"
        return None


class _UnfinishedError(Exception):
    """The server sent no file, or not all of it."""


class _Resuming:
    """A downloader for pooch that keeps an unfinished file and asks for its rest.

    Bytes are taken as sent: a server that marks a .gz file as compressed for the way must not have it unpacked.
    """

    def __init__(self, part: Path, progress: bool) -> None:
        self.part = part
        self.progress = progress
        self.resumed = False

    def __call__(self, address: str, output: str, _pooch: Any) -> None:
        import requests

        have = self.part.stat().st_size if self.part.exists() else 0
        headers = {"Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
        with requests.get(address, headers=headers, stream=True, timeout=SECONDS) as response:
            answer = response.status_code
            if have and answer == requests.codes.requested_range_not_satisfiable:
                self.resumed = True  # nothing is left to ask for: the hash will say whether this is the file
            else:
                if not response.ok:
                    raise _UnfinishedError(f"the server answered {answer} {response.reason}")
                begins = response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
                self.resumed = bool(have) and answer == requests.codes.partial_content and begins
                self._receive(response, have if self.resumed else 0)
        self.part.replace(output)

    def _receive(self, response: Any, have: int) -> None:
        from urllib3.exceptions import HTTPError

        expected = have + int(response.headers.get("Content-Length", 0))
        with self.part.open("ab" if have else "wb") as stream, self._bar(have, expected) as bar:
            try:
                for block in response.raw.stream(BLOCK, decode_content=False):
                    have += stream.write(block)
                    bar.update(len(block))
            except HTTPError as error:
                stopped: Exception | None = error
            else:
                stopped = None
        if stopped or have < expected:
            raise _UnfinishedError(
                f"the connection ended after {have} of {expected} bytes; the next call goes on from there"
            ) from stopped

    def _bar(self, have: int, expected: int) -> Any:
        from tqdm.auto import tqdm

        return tqdm(
            total=expected or None,
            initial=have,
            desc=self.part.name.rsplit(".", 2)[0],
            unit="B",
            unit_scale=True,
            disable=not self.progress,
        )
