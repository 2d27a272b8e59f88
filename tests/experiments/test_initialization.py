"""The experiment of C5, C17 and C23: its rules, its estimands on cases with a known answer, and its fairness."""

import dataclasses
import json

import numpy as np
import pytest

from bncourse import results
from bncourse.experiments import ensembles, initialization
from bncourse.experiments.initialization import REDUCED, Outcome, Settings, training, verdicts
from bncourse.experiments.initialization.gains import accuracy_range, width, worst_and_best
from bncourse.experiments.initialization.spread import deviation_ratio, pooled_deviation
from bncourse.experiments.initialization.training import Cell, Network, many_of_each, one_of_each, train_members
from bncourse.lab import Interval, MLPEnsemble, accuracy, difference_of_means, digits, paired_interval, train
from tests.experiments.common import interval, read_again

pytestmark = pytest.mark.slow

SMALL = Settings(
    hidden=(16, 16),
    gains=(0.1, 1.0, 10.0),
    rates=(0.01, 0.04, 0.16),
    spread_rates=(0.03, 0.1, 0.3),
    tuning_seeds=(1, 2),
    test_seeds=(3, 4, 5),
    tuning_initializations=1,
    initializations=3,
    steps=40,
    target_accuracy=0.6,
)


@pytest.fixture(scope="module")
def small() -> Outcome:
    return initialization.run(SMALL)


@pytest.fixture(scope="module")
def recorded() -> Outcome:
    return initialization.recorded()


# The rules ----------------------------------------------------------------------------------------------------------


CLEAR = {
    "tuned width difference": (0.6, 0.7),
    "small width difference": (0.6, 0.7),
    "retuned width difference": (0.6, 0.7),
    "digits spread ratio": (1.3, 1.4),
    "clusters spread ratio": (1.3, 1.4),
    "tuned range": (0.0, 0.01),
    "small range": (0.0, 0.01),
    "tuned rescaled range": (0.0, 0.01),
    "small rescaled range": (0.0, 0.01),
}


def outcome(bounds: dict | None = None, **changes: object) -> Outcome:
    """Three gains and rates, two seeds; unless something is changed, every number speaks for its claim."""
    inside = {"none": 0.1, "batch_norm": 0.1}
    plain = {field.name: {} for field in dataclasses.fields(Outcome)}
    parts = {
        "seeds": 2,
        "gains": [0.1, 1.0, 10.0],
        "rates": [0.01, 0.1, 1.0],
        "target_accuracy": 0.9,
        "tuning_accuracy": {arm: [[0.5, 0.95, 0.5]] * 3 for arm in inside},
        "tuned": inside,
        "retuned": {arm: [0.1, 0.1, 0.1] for arm in inside},
        "widths": {regime: {"none": [1.0, 1.0]} for regime in ("tuned", "small", "retuned")},
        "spread_rates": [0.01, 0.1, 1.0],
        "spread_tuned": {"digits": inside, "clusters": inside},
        "deviation": {data: dict.fromkeys(inside, interval(0.01, 0.02)) for data in ("digits", "clusters")},
        "estimates": {name: interval(*ends) for name, ends in {**CLEAR, **(bounds or {})}.items()},
    }
    return Outcome(**{**plain, **parts, **changes})


def answers(of: Outcome) -> dict[str, str]:
    return {verdict.claim: verdict.answer for verdict in verdicts(of)}


def test_clear_numbers_support_all_three_claims():
    assert answers(outcome()) == {"C5": "supported", "C17": "supported", "C23": "supported"}
    assert all(0 <= verdict.p < 0.05 for verdict in verdicts(outcome()))


@pytest.mark.parametrize(
    ("tuned", "small", "retuned", "expected"),
    [
        ((0.6, 0.7), (0.6, 0.7), (0.1, 0.2), "qualified"),
        ((0.6, 0.7), (0.6, 0.7), (0.4, 0.6), "inconclusive"),
        ((-0.5, -0.4), (0.3, 0.4), (0.0, 0.0), "contradicted"),
        ((0.0, 0.1), (0.0, 0.1), (0.4, 0.6), "inconclusive"),
        ((0.0, 0.1), (0.6, 0.7), (0.4, 0.6), "qualified"),
    ],
)
def test_insensitive_asks_for_wider_spans_in_every_case(tuned, small, retuned, expected):
    bounds = {"tuned width difference": tuned, "small width difference": small, "retuned width difference": retuned}
    assert answers(outcome(bounds))["C5"] == expected


def test_a_span_that_fills_the_sweep_without_batch_norm_leaves_no_room_for_more():
    """Catches a ceiling that is read as evidence against the claim."""
    bounds = {"retuned width difference": (0.1, 0.3)}
    widths = outcome().widths
    assert answers(outcome(bounds, widths=widths))["C5"] == "qualified"
    full = {**widths, "retuned": {"none": [2.6, 2.6]}}
    assert answers(outcome(bounds, widths=full))["C5"] == "inconclusive"
    assert answers(outcome(widths=full))["C5"] == "supported"


def test_a_retuned_rate_at_the_edge_matters_where_a_better_one_might_make_the_network_work():
    retuned = {"none": [0.1, 0.1, 0.01], "batch_norm": [0.1, 0.1, 0.1]}
    for best, expected in ((0.15, "supported"), (0.7, "inconclusive"), (0.93, "supported")):
        scores = {"none": [[0.5, 0.95, 0.5]] * 2 + [[best, 0.1, 0.0]], "batch_norm": [[0.5, 0.95, 0.5]] * 3}
        assert answers(outcome(retuned=retuned, tuning_accuracy=scores))["C5"] == expected, best


@pytest.mark.parametrize(
    ("on_digits", "on_clusters", "expected"),
    [
        ((1.3, 1.4), (1.0, 1.2), "qualified"),
        ((0.8, 1.1), (1.0, 1.2), "contradicted"),
        ((1.3, 1.4), (1.2, 1.3), "inconclusive"),
        ((1.0, 1.2), (1.2, 1.3), "inconclusive"),
    ],
)
def test_consistent_asks_for_a_smaller_spread_on_both_data_sets(on_digits, on_clusters, expected):
    bounds = {"digits spread ratio": on_digits, "clusters spread ratio": on_clusters}
    assert answers(outcome(bounds))["C17"] == expected


@pytest.mark.parametrize(
    ("tuned", "small", "tuned_rescaled", "small_rescaled", "expected"),
    [
        ((0.1, 0.2), (0.1, 0.2), (0.0, 0.01), (0.0, 0.01), "qualified"),
        ((0.0, 0.01), (0.1, 0.2), (-0.01, 0.01), (0.0, 0.01), "qualified"),
        ((0.1, 0.2), (0.1, 0.2), (0.0, 0.01), (0.04, 0.06), "inconclusive"),
        ((0.04, 0.06), (0.0, 0.01), (0.0, 0.01), (0.0, 0.01), "inconclusive"),
        ((0.1, 0.2), (0.0, 0.01), (0.06, 0.1), (0.0, 0.01), "contradicted"),
        ((0.1, 0.2), (0.0, 0.01), (0.0, 0.01), (0.06, 0.1), "inconclusive"),
    ],
    ids=[
        "the rate explains it",
        "it matters at the small rate alone",
        "open whether the rate explains it",
        "open whether it matters",
        "it matters at the tuned rate even rescaled",
        "plain at one rate, rescaled at the other",
    ],
)
def test_unimportant_is_decided_by_pairs_of_plain_and_rescaled(tuned, small, tuned_rescaled, small_rescaled, expected):
    bounds = {
        "tuned range": tuned,
        "small range": small,
        "tuned rescaled range": tuned_rescaled,
        "small rescaled range": small_rescaled,
    }
    assert answers(outcome(bounds))["C23"] == expected


def test_an_edge_of_the_grid_leaves_open_what_rests_on_that_rate():
    everything = {"C5": "supported", "C17": "supported", "C23": "supported"}
    none_at_edge, both_at_edge = {"none": 1.0, "batch_norm": 0.1}, {"none": 0.1, "batch_norm": 0.01}
    assert answers(outcome(tuned=none_at_edge)) == {**everything, "C5": "inconclusive"}
    assert answers(outcome(tuned=both_at_edge)) == {**everything, "C5": "inconclusive", "C23": "inconclusive"}
    spread_tuned = {"digits": {"none": 0.1, "batch_norm": 0.1}, "clusters": none_at_edge}
    assert answers(outcome(spread_tuned=spread_tuned)) == {**everything, "C17": "inconclusive"}


def test_a_verdict_carries_all_effects_and_the_p_value_of_those_that_decided():
    insensitive, consistent, unimportant = verdicts(outcome({"small range": (0.1, 0.2)}))
    assert [len(verdict.effects) for verdict in (insensitive, consistent, unimportant)] == [3, 2, 4]
    assert insensitive.p == max(effect.p_value() for effect in insensitive.effects)
    _, small, *rescaled = (effect.p_value() for effect in unimportant.effects)
    assert unimportant.answer == "qualified"
    assert unimportant.p == max(2 * small, *rescaled)
    open_ended = verdicts(outcome({"small range": (0.04, 0.2)}))[2]
    assert (open_ended.answer, open_ended.p) == ("inconclusive", 1)


# The estimands ------------------------------------------------------------------------------------------------------


def test_the_width_counts_the_gains_at_which_a_seed_works():
    settings = dataclasses.replace(SMALL, gains=(0.1, 10**-0.5, 1.0, 10**0.5), target_accuracy=0.9)
    scores = np.array([[0.9, 0.1], [0.95, 0.2], [0.1, 0.89], [0.99, 0.3]])
    assert width(settings, scores) == pytest.approx([1.5, 0])


def test_the_range_is_read_at_gains_that_other_seeds_chose():
    """Catches the difference of extremes over the same seeds, which noise alone makes positive."""
    assert worst_and_best(SMALL, [0.5, 0.9, 0.4]) == [10.0, 1.0]
    scores = np.array([[0.1, 0.3], [0.8, 0.9], [0.6, 0.6]])
    assert accuracy_range(SMALL, scores, worst=10.0, best=1.0).estimate == pytest.approx(0.25)
    assert accuracy_range(SMALL, scores, worst=1.0, best=10.0).estimate == pytest.approx(-0.25)


def test_the_spread_is_within_seeds_and_not_between_them():
    """Catches a deviation over all networks, in which an order of batches that suits them all would count."""
    rng = np.random.default_rng(0)
    offset = rng.normal(0, 0.2, (400, 1))
    first, second = (offset + rng.normal(0, deviation, (400, 6)) for deviation in (0.03, 0.02))
    assert pooled_deviation(first).estimate == pytest.approx(0.03, rel=0.05)
    ratio = deviation_ratio(first, second)
    assert ratio.low < 1.5 < ratio.high
    assert ratio.low > 1.4
    assert ratio.high < 1.6


def cell(networks: list[Network], weights: tuple[int, ...], batches: tuple[int, ...], **changes) -> Cell:
    plain = {
        "data": "digits",
        "arm": networks[0].arm,
        "gains": tuple(network.gain for network in networks),
        "rates": tuple(network.rate for network in networks),
        "hidden_rates": tuple(network.hidden_rate for network in networks),
        "weight_seeds": weights,
        "batch_seeds": batches,
        "hidden": (16, 16),
        "steps": 30,
        "batch_size": 50,
        "momentum": 0.9,
        "part": "validation",
    }
    return Cell(**{**plain, **changes})


def test_weights_and_batches_have_seeds_of_their_own():
    """Catches a seed that decides about both, with which the spread would not be one over initializations alone."""
    network = Network.at("digits", "batch_norm", 0.1)
    found = train_members(cell([network] * 4, (1, 1, 2, 2), (7, 8, 7, 8), steps=4))["accuracy"]
    assert len(set(found)) == 4
    alone = MLPEnsemble((64, 16, 16, 10), (2,), True)
    alone.seeds = (7,)
    history = train(alone, digits(), [0.1], 4)
    assert history.validation_accuracy[0, -1] == pytest.approx(found[2])


def test_many_networks_share_a_seeds_batches_and_one_of_each_shares_nothing():
    many = many_of_each((3, 4), 3)
    assert [replicate.batches for replicate in many] == [3, 3, 3, 4, 4, 4]
    assert len({replicate.weights for replicate in many}) == 6
    assert [(each.weights, each.batches) for each in one_of_each((3, 4))] == [(3, 3), (4, 4)]


def test_the_rescaled_rate_undoes_the_gain():
    """As the docstring derives; the gain itself does not, and the gain instead of its square does not either."""
    data, steps = digits(), 30

    def loss(gain: float, hidden_rate: float) -> np.ndarray:
        network = MLPEnsemble((64, 16, 16, 10), (1, 2), True, gain=gain)
        return train(network, data, [0.1] * 2, steps, hidden_rates=[hidden_rate] * 2).batch_loss

    rescaled = Network.at("digits", "batch_norm", 0.1, gain=4.0, rescaled=True)
    assert (rescaled.rate, rescaled.hidden_rate) == (0.1, pytest.approx(1.6))
    usual = loss(1.0, 0.1)
    assert np.abs(loss(4.0, rescaled.hidden_rate) - usual).max() < 0.01
    assert np.abs(loss(4.0, 0.1) - usual).max() > 0.1
    assert np.abs(loss(4.0, 0.4) - usual).max() > 0.1


def test_the_gain_and_both_rates_of_a_network_reach_its_training(monkeypatch):
    seen = []

    def recording_train(network, data, rates, *rest, hidden_rates, **options):
        seen.append(
            (network.weights[0].detach().std(dim=(1, 2)), network.weights[-1].detach().std(), rates, hidden_rates)
        )
        return train(network, data, rates, *rest, hidden_rates=hidden_rates, **options)

    monkeypatch.setattr(training, "train", recording_train)
    networks = [
        Network.at("digits", "batch_norm", 0.1, gain=1.0),
        Network.at("digits", "batch_norm", 0.2, gain=0.1, rescaled=True),
    ]
    train_members(cell(networks, (1, 1), (1, 1), steps=1))
    ((hidden, output, rates, hidden_rates),) = seen
    assert hidden[1] / hidden[0] == pytest.approx(0.1)
    assert output == pytest.approx(16**-0.5, rel=0.2)
    assert rates == (0.1, 0.2)
    assert hidden_rates == pytest.approx((0.1, 0.002))


# The run ------------------------------------------------------------------------------------------------------------


def test_a_run_ends_in_values_for_every_regime_arm_and_seed(small):
    both, one = {"none", "batch_norm"}, {"batch_norm"}
    arms = {"tuned": both, "small": both, "retuned": both, "tuned rescaled": one, "small rescaled": one}
    assert {regime: set(rows) for regime, rows in small.test_accuracy.items()} == arms
    for rows in small.test_accuracy.values():
        assert {np.shape(values) for values in rows.values()} == {(3, 3)}
    for rows in small.spread_accuracy.values():
        assert {np.shape(values) for values in rows.values()} == {(3, 3)}
    assert {arm: np.shape(values) for arm, values in small.tuning_accuracy.items()} == dict.fromkeys(both, (3, 3))
    assert max(max(row) for row in small.test_accuracy["tuned"]["batch_norm"]) > 0.6
    assert small.small_rate == {arm: rate / 4 for arm, rate in small.tuned.items()}


def test_every_network_is_scored_on_its_own_members(small):
    """Catches gains, rates and seeds in another order than that in which their scores are stored."""
    for regime, rate, gain in (("tuned", small.tuned, 10.0), ("small rescaled", small.small_rate, 0.1)):
        network = Network.at("digits", "batch_norm", rate["batch_norm"], gain, rescaled="rescaled" in regime)
        found = train_members(cell([network], (4,), (4,), steps=40, part="test"))["accuracy"]
        row = small.test_accuracy[regime]["batch_norm"][SMALL.gains.index(gain)]
        assert row[1] == pytest.approx(found[0], abs=1e-5)
    network = Network.at("clusters", "none", small.spread_tuned["clusters"]["none"])
    found = train_members(cell([network] * 3, (5000, 5001, 5002), (5,) * 3, data="clusters", steps=40, part="test"))[
        "accuracy"
    ]
    assert small.spread_accuracy["clusters"]["none"][2] == pytest.approx(found, abs=1e-5)


@pytest.mark.parametrize("which", ["small", "recorded"])
def test_the_estimates_follow_from_the_values_of_the_seeds(which, request):
    """Catches a difference or a ratio upside down, regimes exchanged, and a number edited by hand."""
    seen: Outcome = request.getfixturevalue(which)
    step = np.log10(seen.gains[1] / seen.gains[0])

    def of(regime: str, arm: str) -> np.ndarray:
        return np.array(seen.test_accuracy[regime][arm])

    expected = {}
    for regime in ("tuned", "small", "retuned"):
        spans = {arm: step * (of(regime, arm) >= seen.target_accuracy).sum(axis=0) for arm in ("none", "batch_norm")}
        for arm, values in spans.items():
            assert seen.widths[regime][arm] == pytest.approx(values)
        expected[f"{regime} width difference"] = paired_interval(
            spans["batch_norm"], spans["none"], difference_of_means
        )
    for regime, (worst, best) in seen.extremes.items():
        rows = of(regime, "batch_norm")
        expected[f"{regime} range"] = paired_interval(
            rows[seen.gains.index(best)], rows[seen.gains.index(worst)], difference_of_means
        )
    for data, arms in seen.spread_accuracy.items():
        none, batch_norm = (np.array(arms[arm]) for arm in ("none", "batch_norm"))
        expected[f"{data} spread ratio"] = deviation_ratio(none, batch_norm)
        deviations = [np.sqrt(np.mean([np.std(row, ddof=1) ** 2 for row in rows])) for rows in (none, batch_norm)]
        assert [seen.deviation[data][arm].estimate for arm in ("none", "batch_norm")] == pytest.approx(deviations)
        assert seen.estimates[f"{data} spread ratio"].estimate == pytest.approx(deviations[0] / deviations[1])
    assert seen.estimates.keys() == expected.keys() == CLEAR.keys()
    for name, computed in expected.items():
        check(seen.estimates[name], computed)


def check(stored: Interval, computed: Interval) -> None:
    assert stored.estimate == pytest.approx(computed.estimate, abs=1e-6)
    # Another SciPy may draw other resamples; its bounds then move by a few hundredths of the width.
    tolerance = 0.05 * (computed.high - computed.low) + 1e-6
    assert (stored.low, stored.high) == pytest.approx((computed.low, computed.high), abs=tolerance)


def test_the_record_was_made_with_the_settings_of_the_code(recorded):
    record = results.load("initialization")
    assert record.settings == json.loads(json.dumps(dataclasses.asdict(Settings())))
    assert record.provenance.command == "python -m bncourse.experiments.initialization"
    assert not record.provenance.commit.endswith("-modified")
    assert recorded.seeds == len(Settings().test_seeds)


def test_the_reduced_run_tunes_among_the_recorded_rates(recorded):
    """Catches a reduced grid without the rate that was chosen, at which the effects may be others."""
    assert set(recorded.tuned.values()) <= set(REDUCED.rates)


def test_rates_and_gains_are_chosen_without_the_test_seeds(small):
    """Catches a rate, or an extreme gain, that is chosen on the seeds it is scored on."""
    other = initialization.run(dataclasses.replace(SMALL, test_seeds=(13, 14, 15)))
    for name in ("tuned", "retuned", "extremes", "spread_tuned"):
        assert getattr(other, name) == getattr(small, name)
    assert other.test_accuracy != small.test_accuracy
    for arm, rows in small.tuning_accuracy.items():
        assert small.retuned[arm] == [small.rates[int(np.argmax(row))] for row in rows]
        assert small.tuned[arm] == small.retuned[arm][1]


def test_tuning_never_reads_the_test_part(monkeypatch):
    read = []

    def recording_accuracy(network, x, y):
        read.append(set(network.seeds))
        return accuracy(network, x, y)

    monkeypatch.setattr(ensembles, "accuracy", recording_accuracy)
    initialization.run(dataclasses.replace(SMALL, steps=2))
    assert set().union(*read) == set(SMALL.test_seeds)


def test_processes_and_the_cache_change_nothing(small, tmp_path, monkeypatch):
    monkeypatch.setenv("BNCOURSE_CACHE", str(tmp_path))
    assert initialization.run(SMALL, jobs=2, cache=True) == small
    monkeypatch.setattr(training, "train", None)
    assert initialization.run(SMALL, cache=True) == small


def test_a_run_survives_its_record(small, tmp_path):
    assert read_again(initialization, SMALL, small, tmp_path) == small


# The settings -------------------------------------------------------------------------------------------------------


def test_the_reduced_run_estimates_the_same():
    """Catches a smaller network, fewer steps or another span of gains, which would change the effects."""
    full = Settings()
    for name in ("hidden", "small", "steps", "batch_size", "momentum", "target_accuracy", "spread_data"):
        assert getattr(REDUCED, name) == getattr(full, name)
    assert (REDUCED.gains[0], REDUCED.gains[-1]) == (full.gains[0], full.gains[-1])
    assert set(REDUCED.gains) <= set(full.gains)
    assert set(REDUCED.rates) <= set(full.rates)
    assert set(REDUCED.spread_rates) <= set(full.spread_rates)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gains": (0.1, 1.0, 5.0)}, "rise by a constant factor"),
        ({"gains": (0.2, 2.0, 20.0)}, "1 among them"),
        ({"rates": (0.1, 0.01)}, "rising order"),
        ({"initializations": 1}, "two initializations"),
    ],
)
def test_settings_that_would_be_unfair_or_undefined_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SMALL, **changes)
