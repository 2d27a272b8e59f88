"""What a learner calls: diagnoses, hints, checks and their outcomes; and the parts that the cases are made of."""

import linecache
import threading
from dataclasses import replace

import pytest
import torch
from torch import nn

import bncourse.clinic
from bncourse.clinic import PATIENTS, SyncBatchNorm, dead_pixel, list_cases, mlp, run_ranks
from bncourse.clinic.checking import Finding, at_least, curves, handed_over, verdict
from bncourse.clinic.inference import as_it_came, share_right
from bncourse.clinic.ranks import RanksError
from bncourse.clinic.recording import Record, Watch, misfit
from bncourse.reference import batch_norm, batch_norm_backward

pytestmark = pytest.mark.slow

CASES = list_cases()


def learned(code, name="train"):
    """A function defined as a notebook defines it: its source can be found."""
    filename = f"<cell {abs(hash(code))}>"
    linecache.cache[filename] = (len(code), None, code.splitlines(keepends=True), filename)
    names = {"nn": nn, "torch": torch, "mlp": mlp}
    exec(compile(code, filename, "exec"), names)
    return names[name]


def test_cases_are_found_by_name_and_no_name_tells_the_fault():
    assert [case.id for case in CASES] == list(PATIENTS)
    assert bncourse.clinic.dead_pixel is CASES[PATIENTS.index("dead_pixel")]
    assert set(PATIENTS) <= set(dir(bncourse.clinic))
    with pytest.raises(AttributeError, match="no attribute 'live_pixel'"):
        _ = bncourse.clinic.live_pixel
    for word in ("momentum", "nan", "eval", "half_stat", "buffer", "rank", "accum", "leak", "frozen"):
        assert not any(word in name for name in PATIENTS)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_one_diagnosis_is_right_and_each_has_feedback(case):
    assert sum(diagnosis.right for diagnosis in case.diagnoses) == 1
    assert len({diagnosis.text for diagnosis in case.diagnoses}) == len(case.diagnoses) >= 3
    for diagnosis in case.diagnoses:
        assert diagnosis.feedback
        assert diagnosis.answer.startswith("**Right.** " if diagnosis.right else "**No.** ")


def test_the_right_diagnosis_is_neither_always_the_longest_nor_always_at_one_place():
    places = [[diagnosis.right for diagnosis in case.diagnoses].index(True) for case in CASES]
    longest = [max(case.diagnoses, key=lambda each: len(each.text)).right for case in CASES]
    assert max(map(places.count, places)) < 0.7 * len(CASES)
    assert sum(longest) < 0.7 * len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_the_starter_is_short_runs_and_counts_as_not_attempted(case, capsys):
    """Catches a starter that the check would take for an attempt, and one that needs a wider screen."""
    starter = case.starter()
    assert capsys.readouterr().out.strip() == starter.strip()
    lines = starter.splitlines()
    assert len(lines) <= 32
    assert max(map(len, lines)) <= 88
    assert lines[0] == "def train(task, record):"
    function = learned(starter)
    assert verdict(case, function, [1]).outcome == "not attempted"
    commented = learned(starter.replace("):\n", "):  # as it came\n", 1))
    assert verdict(case, commented, [1]).outcome == "not attempted"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_the_solution_runs_as_printed(case, capsys):
    """Catches an import that is missing from what is printed."""
    names = {}
    solution = case.solution()
    exec(solution, names)
    assert verdict(case, names["train"], [970]).outcome == "passed"
    assert capsys.readouterr().out.splitlines()[-1].startswith("# ")
    assert "bncourse.clinic.cases" not in solution


def test_hints_come_one_after_the_other_and_no_further(capsys):
    case = replace(dead_pixel, _hint_level=[0])
    texts = [case.hint() for _ in range(3)]
    assert "Hint 1 of 2" in texts[0]
    assert "Hint 2 of 2" in texts[1]
    assert texts[2] == texts[1]
    assert case.hint(1) == texts[0]
    with pytest.raises(ValueError, match="from 1 to 2, got 3"):
        case.hint(3)
    capsys.readouterr()


@pytest.mark.parametrize(
    ("train", "outcome", "said"),
    [
        (3, "wrong interface", "it got int"),
        (lambda: None, "wrong interface", "does not take that"),
        # What lerp_ raises for num_batches_tracked, and not a run that nobody has begun to mend.
        (
            learned("def train(task, record):\n    torch.ones(2).long().lerp_(torch.ones(2).long(), 0.1)"),
            "error",
            "lerp",
        ),
        (learned("def train(task, record):\n    return [mlp()]"), "error", "That was in the examination"),
        (learned("def train(task, record):\n    return task.images"), "error", "on line 2: `return task.images`"),
        (learned("def train(task, record):\n    raise SystemExit(1)"), "error", "SystemExit"),
        (lambda task, record: mlp(), "failed", "accuracy"),
        (lambda task, record: nn.Sequential(nn.Linear(64, 10)), "failed", "no batch norm"),
    ],
)
def test_whatever_is_handed_in_there_is_a_verdict(train, outcome, said):
    result = verdict(dead_pixel, train, [1])
    assert result.outcome == outcome
    assert said in result.as_text()


def test_a_check_shows_its_verdict_and_leaves_the_random_state(capsys):
    torch.manual_seed(3)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    result = dead_pixel.check(lambda task, record: mlp())
    assert result.outcome == "failed"
    assert result.as_text() in capsys.readouterr().out
    assert torch.equal(before, torch.get_rng_state())
    assert torch.get_num_threads() == threads


def test_a_network_that_was_trained_elsewhere_does_not_pass():
    _, elsewhere = handed_over(dead_pixel, dead_pixel.fixed, 5)
    result = verdict(dead_pixel, lambda task, record: elsewhere, [1])
    assert result.outcome == "failed"
    assert "trained elsewhere" in result.message


def test_a_share_that_falls_short_does_not_look_equal():
    assert at_least("share", 0.9197, 0.92).found == "91%"
    assert at_least("share", 0.92, 0.92).found == "92%"


def test_a_misfit_is_that_of_the_worst_layer():
    """Catches variances that are too small and taken for a fit, and layers that keep none."""
    x = 3 * torch.randn(4000, 64, generator=torch.Generator().manual_seed(0))
    network = nn.Sequential(nn.BatchNorm1d(64, momentum=1.0), nn.BatchNorm1d(64, momentum=1.0))
    network(x)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert misfit(network, x) == pytest.approx(1, abs=1e-3)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    network[1].running_var *= 5
    assert misfit(network, x) == pytest.approx(5, rel=1e-3)
    network[1].running_var /= 100
    assert misfit(network, x) == pytest.approx(20, rel=1e-3)
    for useless in (0.0, float("nan"), float("inf")):
        network[1].running_var.fill_(useless)
        assert misfit(network, x) == float("inf")
    assert misfit(nn.Sequential(nn.BatchNorm1d(64, track_running_stats=False)), x) == float("inf")
    assert misfit(nn.Sequential(nn.Linear(64, 3)), x) == 1


def test_every_seed_has_to_be_healthy():
    """Catches a check that looks at the last run only."""
    case = replace(
        dead_pixel, examine=lambda model, seed, watch: [Finding("seed", str(seed), "2", seed == 2, "Not 2.")]
    )
    train = learned("def train(task, record):\n    model = mlp()\n    model(task.validation.x)\n    return model")
    assert [verdict(case, train, seeds).outcome for seeds in ([2], [1, 2], [2, 1], [2, 2])] == [
        "passed",
        "failed",
        "failed",
        "passed",
    ]


def test_measuring_changes_nothing():
    """Catches a recorder that leaves its validation images in the running statistics, or draws random numbers."""

    def trained(every):
        kept = []
        case = replace(dead_pixel, every=every)
        curves(case, lambda task, record: kept.append(case.fixed(task, record)), 5)
        return kept[0].state_dict()

    often, never = trained(1), trained(10**6)
    assert all(torch.equal(often[name], never[name]) for name in often)


def test_a_record_counts_all_steps_and_keeps_some():
    record = Record(None, lambda model, task, step: {"twice": 2 * step}, every=4)
    for _ in range(9):
        record(None, torch.tensor(1.5, requires_grad=True))
    assert record.steps == [1, 4, 8]
    assert record.rows == {"loss": [1.5] * 3, "twice": [2.0, 8.0, 16.0]}


def test_a_watch_sees_training_only_and_stops_seeing():
    network = mlp(width=8)
    watch = Watch()
    with watch.on():
        network(torch.ones(5, 64))
        with torch.no_grad():
            network.eval()(torch.ones(7, 64))
    network.train()(torch.randn(9, 64))
    assert [[(each.size, each.constant) for each in batches] for batches in watch.batches.values()] == [[(5, True)]] * 2
    assert watch.linear_calls == 3
    assert watch.largest == 5


def test_a_watch_counts_what_needs_memory_for_a_gradient_in_either_mode():
    """Catches a large batch that goes through the network in inference mode, and is trained on all the same."""
    network = mlp(width=8).eval()
    watch = Watch()
    with watch.on():
        network(torch.ones(5, 64))
        with torch.no_grad():
            network(torch.ones(7, 64))
    assert (watch.linear_calls, watch.largest, watch.batches) == (3, 5, {})


def test_what_comes_for_a_second_opinion():
    """Catches faint images that are left out, and a share that is taken in training mode."""
    model, (x,), answers = as_it_came(bncourse.clinic.two_scanners, seed=1)
    assert x.shape == (600, 64)
    assert answers.shape == (600,)
    assert torch.equal(x[300:], 0.1 * x[:300])
    assert model.training
    before = model[1].running_mean.clone()
    share = share_right(model, (x,), answers)
    assert torch.equal(model[1].running_mean, before)
    assert model.training
    with torch.no_grad():
        assert share == float((model.eval()(x).argmax(dim=1) == answers).float().mean())
    with pytest.raises(ValueError, match="got 'folder_by_folder'"):
        as_it_came(bncourse.clinic.folder_by_folder, seed=1)
    yes = nn.Sequential(nn.Flatten(0))
    logits = torch.tensor([[1.0], [-1.0], [2.0]])
    assert share_right(yes, (logits,), torch.tensor([True, True, True])) == pytest.approx(2 / 3)


@pytest.mark.parametrize("sizes", [(4, 7), (1, 6), (3, 2, 5)])
def test_synchronized_batch_norm_is_that_of_all_batches_together(sizes):
    """Output, gradients and statistics, against the NumPy reference. Catches a merge that does not count."""
    generator = torch.Generator().manual_seed(0)
    parts = [5 + 3 * torch.randn(size, 6, generator=generator) for size in sizes]
    upstream = [torch.randn(size, 6, generator=generator) for size in sizes]

    def worker(rank):
        norm = SyncBatchNorm(6, rank)
        x = parts[rank.index].clone().requires_grad_()
        y = norm(x)
        y.backward(upstream[rank.index])
        return y.detach(), x.grad, norm.running_mean, norm.running_var

    found = run_ranks(worker, len(sizes))
    x, dy = torch.cat(parts).double().numpy(), torch.cat(upstream).double().numpy()
    y, cache = batch_norm(x, 1.0 + 0 * x[0], 0 * x[0])
    dx, _, _ = batch_norm_backward(dy, cache)
    assert torch.cat([each[0] for each in found]).numpy() == pytest.approx(y, abs=1e-5)
    assert torch.cat([each[1] for each in found]).numpy() == pytest.approx(dx, abs=1e-5)
    for _, _, mean, var in found:
        assert mean.numpy() == pytest.approx(0.1 * x.mean(axis=0), rel=1e-5)
        assert var.numpy() == pytest.approx(0.9 + 0.1 * x.var(axis=0, ddof=1), rel=1e-5)


def test_ranks_that_do_not_meet_are_an_error_and_not_a_hang():
    with pytest.raises(RanksError, match=r"rank 0 waits in all_reduce number 2, and rank 1 has ended"):
        run_ranks(lambda rank: [rank.all_reduce(torch.ones(3)) for _ in range(2 - rank.index)])
    with pytest.raises(RanksError, match=r"rank 0 gives \(3,\), rank 1 gives \(2,\)"):
        run_ranks(lambda rank: rank.all_reduce(torch.ones(3 - rank.index)))
    assert threading.active_count() < 10


def test_what_a_rank_does_to_its_tensor_afterwards_reaches_nobody():
    """Catches a sum over tensors that their owners go on to change, as ``b.copy_(all_reduce(b))`` does."""

    def worker(rank):
        wrong = 0
        for _ in range(30):
            given = torch.full((300_000,), rank.index + 1.0)
            total = rank.all_reduce(given)
            given.zero_()
            wrong += int((total != 3).any())
        return wrong

    assert run_ranks(worker) == [0, 0]


def test_an_error_on_one_rank_is_the_one_that_is_raised():
    def worker(rank):
        if rank.index:
            raise ZeroDivisionError("on rank 1")
        return rank.all_reduce(torch.ones(1))

    with pytest.raises(ZeroDivisionError, match="on rank 1"):
        run_ranks(worker)
