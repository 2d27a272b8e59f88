"""The digits as another camera might have taken them: new domains, each the same whenever it is asked for."""

from collections.abc import Callable
from functools import cache

import numpy as np
from jaxtyping import Float

from bncourse.lab.data import Split, digit_images

FULL = 16.0
"""The value of a pixel that is all ink; an empty one has 0."""

Pixels = Float[np.ndarray, "N 64"]
Corruption = Callable[[Pixels, np.random.Generator], Pixels]


@cache
def corrupted_digits(name: str) -> Split:
    """The digits after one of ``CORRUPTIONS``: the same images in the same parts.

    Pixels are then centred and scaled by the numbers that :func:`~bncourse.lab.digits` took from clean images: what a
    network meets that was trained on those, and its user does not know better.

    Parameters
    ----------
    name : of the corruption.

    Raises
    ------
    ValueError : if there is none of this name.
    """
    if name not in CORRUPTIONS:
        raise ValueError(f"expected one of the corruptions {', '.join(CORRUPTIONS)}, got {name!r}")
    images = digit_images()
    # Four numbers: NumPy takes missing ones for zeros, and a network's batches are drawn from (seed, 1).
    generator = np.random.default_rng([0, 0, list(CORRUPTIONS).index(name), 3])
    return images.split(CORRUPTIONS[name](images.pixels, generator))


def haze(pixels: Pixels, generator: np.random.Generator) -> Pixels:
    """Less contrast on a brighter ground, the same for all pixels and images: 0.3 p + 6."""
    return 0.3 * pixels + 6


def shade(pixels: Pixels, generator: np.random.Generator) -> Pixels:
    """A shadow that deepens from left to right, the same on all images: 16 is added in the last column."""
    return pixels + np.tile(np.linspace(0, FULL, 8), 8)


def negative(pixels: Pixels, generator: np.random.Generator) -> Pixels:
    """Ink becomes ground, and ground ink: 16 - p."""
    return FULL - pixels


def exposure(pixels: Pixels, generator: np.random.Generator) -> Pixels:
    """Each image paler by a factor of its own, between 1/8 and 1, log-uniform."""
    return pixels * 2.0 ** generator.uniform(-3, 0, (len(pixels), 1))


def glare(pixels: Pixels, generator: np.random.Generator) -> Pixels:
    """Ten more on each pixel of an image, but none has more than 16."""
    return (pixels + 10).clip(max=FULL)


def noise(pixels: Pixels, generator: np.random.Generator) -> Pixels:
    """Normal noise of standard deviation 6 on each pixel."""
    return pixels + 6 * generator.standard_normal(pixels.shape)


def blur(pixels: Pixels, generator: np.random.Generator) -> Pixels:
    """Each pixel the mean of itself and its eight neighbours, of which there are fewer at the border (they count 0)."""
    padded = np.pad(pixels.reshape(-1, 8, 8), ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    blurred: Pixels = windows.mean(axis=(3, 4))
    return blurred.reshape(pixels.shape)


def move(pixels: Pixels, generator: np.random.Generator) -> Pixels:
    """One pixel to the right; the last column is lost, and the first is empty."""
    moved = np.zeros((len(pixels), 8, 8))
    moved[:, :, 1:] = pixels.reshape(-1, 8, 8)[:, :, :-1]
    return moved.reshape(pixels.shape)


CORRUPTIONS: dict[str, Corruption] = {
    function.__name__: function for function in (haze, shade, negative, exposure, glare, noise, blur, move)
}
"""By name. The first three are affine, with the same numbers for all images."""
