"""Statistics taken anew make inference compute what training mode computes on the same examples."""

import numpy as np
import pytest
import torch

from bncourse.lab import (
    ConvEnsemble,
    MLPEnsemble,
    Normalization,
    RecurrentEnsemble,
    TransformerEnsemble,
    accuracy,
    digits,
    take_statistics,
    train,
)
from bncourse.lab.ensemble import Ensemble
from bncourse.lab.noise import StackedDropout
from bncourse.lab.stacked import StackedBatchNorm

WIDTHS, SEEDS = (64, 9, 8, 7, 10), (1, 2)
EXAMPLES = 40
"""So few that n - 1 instead of n in the variance is seen."""

NETWORKS = {
    "plain": lambda: MLPEnsemble(WIDTHS, SEEDS, True),
    "norm last": lambda: MLPEnsemble(WIDTHS, SEEDS, True, order=("activation", "dropout", "norm")),
    "residual before": lambda: MLPEnsemble((64, 8, 8, 8, 10), SEEDS, True, residual="pre"),
    "residual after": lambda: MLPEnsemble((64, 8, 8, 8, 10), SEEDS, True, residual="post"),
    "convolutions": lambda: ConvEnsemble((1, 3, 4), 10, SEEDS, True),
    "tokens": lambda: TransformerEnsemble((8, 6, 10), SEEDS, "batch"),
    "no batch norm": lambda: MLPEnsemble(WIDTHS, SEEDS, False),
}


def batches(network: Ensemble) -> torch.Tensor:
    return digits().train_x[:EXAMPLES].expand(len(network.seeds), -1, -1)


def in_mode(network: Ensemble, training: bool) -> torch.Tensor:
    with torch.no_grad():
        return network.train(training)(batches(network))


@pytest.mark.parametrize("name", NETWORKS)
def test_inference_is_training_mode_on_all_examples(name):
    """Catches the unbiased variance, and layers whose inputs were normalized with old statistics."""
    network = NETWORKS[name]()
    train(network, digits(), [0.1] * 2, 3, 250)
    whole = in_mode(network, training=True)
    take_statistics(network, digits().train_x[:EXAMPLES])
    assert not network.training
    torch.testing.assert_close(in_mode(network, training=False), whole, rtol=1e-4, atol=1e-4)


def test_a_network_of_ghost_batches_gets_statistics_of_all_examples():
    """Catches means over groups, of a variance without what lies between the groups."""
    ghosts, plain = (MLPEnsemble(WIDTHS, SEEDS, kind) for kind in (Normalization(group=4), True))
    take_statistics(ghosts, digits().train_x[:EXAMPLES])
    whole = in_mode(plain, training=True)
    torch.testing.assert_close(in_mode(ghosts, training=False), whole, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("order", [("dropout", "norm", "activation"), ("norm", "activation", "dropout")])
def test_dropout_is_off_and_draws_nothing(order):
    """Catches a pass in training mode, whose variances are those that dropout makes, and which moves the next draws."""
    networks = [MLPEnsemble(WIDTHS, SEEDS, True, order=order, dropout=share) for share in (0.5, 0.0)]
    before = [dropout.generators[0].bit_generator.state for dropout in of_type(networks[0], StackedDropout)]
    for network in networks:
        take_statistics(network, digits().train_x[:EXAMPLES])
    with_dropout, without = (of_type(network, StackedBatchNorm) for network in networks)
    for one, other in zip(with_dropout, without, strict=True):
        torch.testing.assert_close(one.running_var, other.running_var)
    assert [dropout.generators[0].bit_generator.state for dropout in of_type(networks[0], StackedDropout)] == before


def of_type(network: Ensemble, kind: type) -> list:
    return [module for module in network.modules() if isinstance(module, kind)]


def test_they_no_longer_lag_behind_the_weights():
    """After three large steps running averages are far off; catches statistics that move only a part of the way."""
    data = digits()
    network = MLPEnsemble((64, 9, 9, 10), SEEDS, True)
    train(network, data, [0.5] * 2, 3, 250)
    stale = accuracy(network, data.test_x, data.test_y)
    take_statistics(network, data.train_x)
    anew = accuracy(network, data.test_x, data.test_y)
    assert (anew > stale + 0.02).all()
    take_statistics(network, data.train_x)
    np.testing.assert_array_equal(accuracy(network, data.test_x, data.test_y), anew)


def test_a_recurrent_network_is_refused():
    with pytest.raises(ValueError, match="expected network to meet each batch norm once"):
        take_statistics(RecurrentEnsemble((8, 6, 10), SEEDS, "shared"), digits().train_x)
