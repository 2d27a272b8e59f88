"""The formats of the large data sets, on small made-up archives; nothing is downloaded from the world."""

import gzip
import hashlib
import io
import struct
import tarfile

import numpy as np
import pytest
import torch

from bncourse.lab import DownloadError, cifar10, fashion_mnist, images, mnist
from bncourse.lab.download import RemoteFile
from bncourse.lab.images import CIFAR_BATCHES, read_cifar, read_idx
from tests.lab.server import Page, serving

GENERATOR = np.random.default_rng(7)
TRAIN, TEST = 200, 30
# A dark and a bright half: a statistic over the wrong axis shows.
PIXELS = GENERATOR.integers(0, 40, size=(TRAIN + TEST, 4, 6)).astype(np.uint8)
PIXELS[:, 2:] += 150
LABELS = np.arange(TRAIN + TEST, dtype=np.uint8) % 10


def idx(array: np.ndarray) -> bytes:
    """The IDX format as its description has it, written with struct."""
    return gzip.compress(bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes())


def cifar_archive(batches: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in batches.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}.bin")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture(autouse=True)
def _own_cache(own_cache):
    yield
    images._idx_split.cache_clear()
    images._cifar_split.cache_clear()


@pytest.fixture
def server():
    with serving() as running:
        yield running


def publish(server, name: str, content: bytes) -> RemoteFile:
    server.pages[name] = Page(content)
    return RemoteFile(name, hashlib.sha256(content).hexdigest(), (server.url(name),))


def idx_files(server) -> tuple[RemoteFile, ...]:
    arrays = {"a": PIXELS[:TRAIN], "b": LABELS[:TRAIN], "c": PIXELS[TRAIN:], "d": LABELS[TRAIN:]}
    return tuple(publish(server, name, idx(array)) for name, array in arrays.items())


@pytest.mark.parametrize(("load", "name"), [(mnist, "MNIST"), (fashion_mnist, "FASHION_MNIST")])
def test_images_in_idx_files_become_a_split(server, monkeypatch, load, name):
    monkeypatch.setattr(images, name, idx_files(server))
    data = load()
    assert (len(data.train_y), len(data.validation_y), len(data.test_y)) == (180, 20, 30)
    assert data.test_y.tolist() == LABELS[TRAIN:].tolist()
    assert data.train_y.dtype == torch.int64
    assert np.bincount(data.validation_y).tolist() == [2] * 10
    assert load() is data


def test_pixels_are_centred_and_scaled_by_the_training_part_as_the_digits_are(server, monkeypatch):
    """Against the plain formula in double precision; and no pixel of another image may take part."""
    monkeypatch.setattr(images, "MNIST", idx_files(server))
    data = mnist()
    flat = PIXELS[TRAIN:].reshape(TEST, -1).astype(float)
    rows = images.split_indices(LABELS[:TRAIN], {"validation": 20, "train": 180})
    training = PIXELS[rows["train"]].reshape(180, -1).astype(float)
    centred = training - training.mean(axis=0)
    scale = np.sqrt(np.mean(centred**2))
    np.testing.assert_allclose(data.train_x, centred / scale, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(data.test_x, (flat - training.mean(axis=0)) / scale, rtol=1e-5, atol=1e-6)
    assert data.train_x.square().mean().item() == pytest.approx(1, abs=1e-5)
    assert data.train_y.tolist() == LABELS[rows["train"]].tolist()


def test_colour_images_come_plane_by_plane(server, monkeypatch):
    """Catches labels taken for pixels, batches in another order, and test images among those for training."""
    labels = np.arange(60) % 10
    planes = np.zeros((60, 3, 32, 32), dtype=np.uint8)
    planes += np.arange(60, dtype=np.uint8)[:, None, None, None]
    planes[:, 1] += 60
    planes[:, 2, 3, 4] = 200
    records = np.concatenate([labels[:, None].astype(np.uint8), planes.reshape(60, -1)], axis=1)
    batches = {name: records[10 * number : 10 * number + 10].tobytes() for number, name in enumerate(CIFAR_BATCHES)}
    content = cifar_archive({"test_batch": records[50:].tobytes(), **dict(reversed(batches.items()))})
    monkeypatch.setattr(images, "CIFAR10", publish(server, "cifar", content))
    data = cifar10()
    assert (len(data.train_y), len(data.validation_y), len(data.test_y)) == (45, 5, 10)
    assert data.test_y.tolist() == labels[50:].tolist()
    pictures = data.test_x.reshape(-1, 3, 32, 32)
    brightness = pictures.mean(dim=(1, 2, 3))
    assert (brightness.diff() > 0).all()
    assert (pictures[:, 2, 3, 4] == pictures[0, 2, 3, 4]).all()
    assert pictures[:, 0].diff(dim=0).min() > 0
    stored, numbers = read_cifar(images.fetch(images.CIFAR10, "cifar10"), CIFAR_BATCHES)
    assert numbers.tolist() == labels[:50].tolist()
    np.testing.assert_array_equal(stored.reshape(-1, 3, 32, 32), planes[:50])


def test_without_a_network_the_error_says_so(server, monkeypatch):
    files = idx_files(server)
    server.pages.clear()
    monkeypatch.setattr(images, "MNIST", files)
    with pytest.raises(DownloadError, match=r"(?s)a could not be downloaded.*digits\(\) needs no network"):
        mnist()


def test_a_truncated_archive_is_an_error_and_no_data(server, monkeypatch):
    files = idx_files(server)
    server.pages["c"].content = server.pages["c"].content[:-20]
    monkeypatch.setattr(images, "MNIST", files)
    with pytest.raises(DownloadError, match="the SHA-256 is another"):
        mnist()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (idx(PIXELS)[:-9], "expected a whole gzip file"),
        (b"<html>", "expected a whole gzip file"),
        (gzip.compress(b"\0\0\x0d\x01\0\0\0\0", mtime=0), "expected an IDX file of unsigned bytes"),
        (gzip.compress(b"\0\0\x08\x03\0\0\0\x01", mtime=0), "expected an IDX file of unsigned bytes"),
        (gzip.compress(b"", mtime=0), "expected an IDX file of unsigned bytes"),
        (
            gzip.compress(gzip.decompress(idx(PIXELS))[:-1], mtime=0),
            r"expected 5520 bytes for shape \[230, 4, 6\], got 5519",
        ),
        (gzip.compress(gzip.decompress(idx(PIXELS)) + b"\0", mtime=0), "expected 5520 bytes .* got 5521"),
    ],
)
def test_a_file_that_is_not_idx_is_refused(tmp_path, content, message):
    path = tmp_path / "images.gz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"images\.gz: {message}"):
        read_idx(path)


def test_an_idx_file_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "images.gz"
    path.write_bytes(idx(PIXELS))
    np.testing.assert_array_equal(read_idx(path), PIXELS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (cifar_archive({"data_batch_1": bytes(3073)}), "data_batch_2"),
        (cifar_archive({"data_batch_1": bytes(3072), "data_batch_2": bytes(3073)}), "records of 3073 bytes, got 3072"),
        (cifar_archive({"data_batch_1": b"", "data_batch_2": bytes(3073)}), "got 0 bytes"),
        (
            cifar_archive({"data_batch_1": bytes(3073 * 20), "data_batch_2": GENERATOR.bytes(3073)})[:-900],
            "binary archive",
        ),
        (b"no archive", "expected CIFAR-10's binary archive"),
    ],
)
def test_an_archive_that_is_not_whole_is_refused(tmp_path, content, message):
    path = tmp_path / "cifar.tar.gz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_cifar(path, ("data_batch_1", "data_batch_2"))


def test_images_without_their_labels_are_refused(server, monkeypatch):
    files = idx_files(server)
    monkeypatch.setattr(images, "MNIST", (files[0], publish(server, "b", idx(LABELS[: TRAIN - 1])), *files[2:]))
    with pytest.raises(ValueError, match="expected a label for each image, got 200 images and 199 labels"):
        mnist()
