"""Three larger sets of images, for readers with a network: MNIST, Fashion-MNIST and CIFAR-10.

The hashes are those that TensorFlow Datasets checks (``tensorflow_datasets/url_checksums``: ``mnist.txt``,
``fashion_mnist.txt``, ``cifar10.txt``). CIFAR-10 comes as its authors' binary archive, which has no pickles in it.
"""

import gzip
import tarfile
from collections.abc import Callable
from functools import cache
from math import prod
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from bncourse.lab.data import Split, split_indices
from bncourse.lab.download import RemoteFile, fetch

Images = UInt8[np.ndarray, "N F"]
Labels = Int[np.ndarray, "N"]

CIFAR_BATCHES = ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5")
CIFAR_RECORD = 1 + 3 * 32 * 32


def _idx_files(names: dict[str, str], *servers: str) -> tuple[RemoteFile, ...]:
    return tuple(RemoteFile(name, sha256, tuple(server + name for server in servers)) for name, sha256 in names.items())


# Training images and labels, then test images and labels.
MNIST = _idx_files(
    {
        "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    },
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
)
FASHION_MNIST = _idx_files(
    {
        "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    },
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
)
CIFAR10 = RemoteFile(
    "cifar-10-binary.tar.gz",
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
)


def mnist(progress: bool = False) -> Split:
    """Handwritten digits, 28 x 28: 54 000 for training, 6000 for validation, 10 000 for testing.

    Downloaded once (11 MB) and kept. The validation part is every class's share of the training images. Pixels are
    centred and scaled as those of :func:`~bncourse.lab.digits` are; a row is an image, pixel by pixel.

    Parameters
    ----------
    progress : whether to show a bar while downloading.

    Raises
    ------
    DownloadError : if there is no copy here and none can be had.
    ValueError : if a file does not hold what its name says.
    """
    return _idx_split(tuple(fetch(file, "mnist", progress) for file in MNIST))


def fashion_mnist(progress: bool = False) -> Split:
    """Pieces of clothing, 28 x 28, in the sizes and the form of :func:`mnist` (30 MB).

    Parameters
    ----------
    progress : whether to show a bar while downloading.
    """
    return _idx_split(tuple(fetch(file, "fashion_mnist", progress) for file in FASHION_MNIST))


def cifar10(progress: bool = False) -> Split:
    """Colour photographs, 32 x 32: 45 000 for training, 5000 for validation, 10 000 for testing (170 MB).

    As :func:`mnist`; a row is an image's red plane, then its green, then its blue one, so that
    ``x.reshape(-1, 3, 32, 32)`` gives images in torch's order.

    Parameters
    ----------
    progress : whether to show a bar while downloading.
    """
    return _cifar_split(fetch(CIFAR10, "cifar10", progress))


@cache
def _idx_split(paths: tuple[Path, ...]) -> Split:
    train_images, train_labels, test_images, test_labels = (read_idx(path) for path in paths)
    flat = (train_images.reshape(len(train_images), -1), test_images.reshape(len(test_images), -1))
    return _split(flat[0], train_labels.astype(np.int64), flat[1], test_labels.astype(np.int64))


@cache
def _cifar_split(path: Path) -> Split:
    train, test = read_cifar(path, CIFAR_BATCHES), read_cifar(path, ("test_batch",))
    return _split(*train, *test)


def read_idx(path: Path) -> UInt8[np.ndarray, "..."]:
    """The array of bytes in a gzipped IDX file, the format of MNIST.

    Two zero bytes, 8 for unsigned bytes, the number of axes; each axis's length in four bytes, the highest first; the
    values in row-major order.

    Raises
    ------
    ValueError : if the file holds something else, or not all of it.
    """
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError) as error:
        raise ValueError(f"{path.name}: expected a whole gzip file ({error})") from error
    if content[:3] != b"\0\0\x08" or len(content) < 4 + 4 * content[3]:
        raise ValueError(f"{path.name}: expected an IDX file of unsigned bytes, got one that begins {content[:4]!r}")
    header = 4 + 4 * content[3]
    shape = np.frombuffer(content[4:header], dtype=">u4").tolist()
    if len(content) - header != prod(shape):
        raise ValueError(f"{path.name}: expected {prod(shape)} bytes for shape {shape}, got {len(content) - header}")
    return np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape)


def read_cifar(path: Path, batches: tuple[str, ...]) -> tuple[Images, Labels]:
    """Images and labels of some batches of CIFAR-10's binary archive; nothing is unpacked on disk.

    Each record is a byte with the label and 3072 with the image's red, green and blue planes.

    Raises
    ------
    ValueError : if a batch is missing or not made of such records.
    """
    records = []
    try:
        with tarfile.open(path, "r:gz") as archive:
            for batch in batches:
                member = archive.extractfile(f"cifar-10-batches-bin/{batch}.bin")
                content = member.read() if member else b""
                if not content or len(content) % CIFAR_RECORD:
                    raise ValueError(
                        f"{path.name}: expected {batch} to be records of {CIFAR_RECORD} bytes, got {len(content)} bytes"
                    )
                records.append(np.frombuffer(content, dtype=np.uint8).reshape(-1, CIFAR_RECORD))
    except (tarfile.TarError, KeyError, EOFError, OSError) as error:
        raise ValueError(f"{path.name}: expected CIFAR-10's binary archive ({error})") from error
    together = np.concatenate(records)
    return together[:, 1:], together[:, 0].astype(np.int64)


def _split(train_images: Images, train_labels: Labels, test_images: Images, test_labels: Labels) -> Split:
    """A tenth of the training images for validation, and all pixels centred and scaled by the rest's statistics."""
    for images, labels in ((train_images, train_labels), (test_images, test_labels)):
        if len(images) != len(labels):
            raise ValueError(f"expected a label for each image, got {len(images)} images and {len(labels)} labels")
    count = len(train_labels) // 10
    part = split_indices(train_labels, {"validation": count, "train": len(train_labels) - count})
    normalize = _normalizer(train_images[part["train"]])
    return Split(
        normalize(train_images[part["train"]]),
        torch.from_numpy(train_labels[part["train"]]),
        normalize(train_images[part["validation"]]),
        torch.from_numpy(train_labels[part["validation"]]),
        normalize(test_images),
        torch.from_numpy(test_labels),
    )


def _normalizer(images: Images) -> Callable[[Images], Float[Tensor, "N F"]]:
    """Centre by each pixel's mean over these images, then divide by the root mean square of what remains.

    Sums of bytes and of their squares are exact in 64-bit integers, and so is the difference that loses digits in
    floating point.
    """
    count = len(images)
    sums = images.sum(axis=0, dtype=np.int64)
    squares = np.einsum("nf,nf->f", images, images, dtype=np.int64, casting="safe")
    mean = sums / count
    scale = np.sqrt(np.mean((count * squares - sums**2) / count**2))

    def normalize(other: Images) -> Float[Tensor, "N F"]:
        result = other.astype(np.float32)
        result -= mean.astype(np.float32)
        result /= np.float32(scale)
        return torch.from_numpy(result)

    return normalize
