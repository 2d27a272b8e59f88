"""The equations of chapter 3.2, both sides evaluated on random input."""

import numpy as np
import pytest
import torch


@pytest.mark.equation("eq-programs")
@pytest.mark.parametrize("seed", range(5))
def test_the_programs_reach_every_value_and_one_fewer_would_not(seed):
    """Catches rounding down, and one program too many where the block divides the size."""
    rng = np.random.default_rng(seed)
    block = 2 ** int(rng.integers(0, 8))
    for size in (int(rng.integers(1, 2000)), block * int(rng.integers(1, 20))):
        reached, programs = 0, 0
        while reached < size:
            reached, programs = reached + block, programs + 1
        assert int(np.ceil(size / block)) == programs


LAYOUTS = {
    "contiguous": lambda x: x,
    "channels last": lambda x: x.to(memory_format=torch.channels_last),
    "every other example": lambda x: x.repeat_interleave(2, 0)[::2],
    "some of the channels": lambda x: torch.cat([x, x], dim=1)[:, : x.shape[1]],
}


@pytest.mark.equation("eq-place")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_strides_say_where_a_value_lies(layout):
    """Catches strides in the wrong order; sizes differ along every axis, and no two values are alike."""
    x = LAYOUTS[layout](torch.arange(5 * 7 * 6, dtype=torch.float32).reshape(5, 7, 2, 3))
    memory = torch.as_strided(x, (x.untyped_storage().nbytes() // 4,), (1,), 0)
    view = x.flatten(2)
    assert view.data_ptr() == x.data_ptr()
    d_n, d_c, d_s = view.stride()
    for n in range(5):
        for c in range(7):
            for s in range(6):
                assert memory[n * d_n + c * d_c + s * d_s] == x[n, c, s // 3, s % 3]


@pytest.mark.equation("eq-place")
def test_a_batch_of_vectors_has_one_position():
    x = torch.randn(5, 7)[..., None]
    d_n, d_c, _ = x.stride()
    assert x.flatten()[3 * d_n + 4 * d_c] == x[3, 4, 0]
