"""What learners try on each patient: wrong treatments, which must not pass, and right ones beside the course's own.

A treatment is the broken run with some of its text replaced, so that it is as short as what a learner changes.
"""

# Code in strings is as wide as it is.
# ruff: noqa: E501

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.optim.swa_utils import update_bn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

from bncourse.clinic import SyncBatchNorm, mlp, run_ranks
from bncourse.clinic.case import Case

NAMES = {
    "copy": copy,
    "torch": torch,
    "functional": functional,
    "nn": nn,
    "DataLoader": DataLoader,
    "TensorDataset": TensorDataset,
    "checkpoint": checkpoint,
    "update_bn": update_bn,
    "SyncBatchNorm": SyncBatchNorm,
    "mlp": mlp,
    "run_ranks": run_ranks,
}
Change = tuple[tuple[str, str], ...]
LOWER_RATE: dict[str, Change] = {
    "0.1": (("lr=0.1", "lr=0.02"),),
    "0.05": (("lr=0.05", "lr=0.01"),),
}

WRONG: dict[str, dict[str, Change]] = {
    "folder_by_folder": {
        "no_gradients": (("with torch.no_grad():", "with torch.inference_mode():"),),
        "eval_once": (("        with torch.no_grad():", "        model.eval()\n        with torch.no_grad():"),),
    },
    "ported_network": {
        "lower_rate": LOWER_RATE["0.05"],
        "a_little_less": (("momentum=0.99", "momentum=0.9"),),
        "larger_batches": (("batch_size=4", "batch_size=64"),),
    },
    "dead_pixel": {
        "filled_at_the_end": (
            ("    return model", "    for b in model.buffers():\n        b.data = b.nan_to_num()\n    return model"),
        ),
        "loss_without_nan": (
            ("functional.cross_entropy(model(x), y)", "functional.cross_entropy(model(x), y).nan_to_num()"),
        ),
        "gradients_clipped": (
            ("optimizer.step()", "nn.utils.clip_grad_norm_(model.parameters(), 1.0); optimizer.step()"),
        ),
        "no_batch_norm": (("model = mlp()", "model = nn.Sequential(*(m for m in mlp() if 'Batch' not in str(m)))"),),
    },
    "moving_average": {
        "the_last_weights": (("return average", "return model"),),
        "a_copy_of_the_last": (("return average", "return copy.deepcopy(model)"),),
        "faster": (("lerp_(new, 0.1)", "lerp_(new, 0.5)"),),
        "more_steps": (("range(8)", "range(24)"),),
        "lower_rate": LOWER_RATE["0.1"],
        "no_batch_norm": (
            ("model = mlp(depth=4)", "model = nn.Sequential(*(m for m in mlp(depth=4) if 'Batch' not in str(m)))"),
        ),
    },
    "half_the_memory": {
        "statistics_of_the_company": (("mlp()", "mlp(track_running_stats=False)"),),
        "cut_off_before_overflow": (
            (
                "return copy.deepcopy(model).half()",
                "m = copy.deepcopy(model)\n        for b in m.buffers():\n            b.data = b.clamp(max=65504)\n        return m.half()",
            ),
        ),
        "float_after_half": (
            (
                "return copy.deepcopy(model).half()",
                "m = copy.deepcopy(model).half(); m[1].float(); m[4].float(); return m",
            ),
        ),
        "bfloat_is_not_asked_for": (("model).half()", "model)"), ("mlp()", "mlp().double().float()")),
    },
    "borrowed_backbone": {
        "no_gradients": (("model[1].parameters(), lr=0.1", "model[1].parameters(), lr=0.1, weight_decay=0"),),
        "eval_too_early": (
            (
                "    for _ in range(6):\n        model.train()",
                "    task.backbone.eval()\n    for _ in range(6):\n        model.train()",
            ),
        ),
        "not_trained": (("model.train()", "return model.eval()"),),
    },
    "two_scanners": {
        "no_batch_norm": (("mlp()", "nn.Sequential(*(m for m in mlp() if 'Batch' not in str(m)))"),),
        "statistics_of_the_company": (("mlp()", "mlp(track_running_stats=False)"),),
        "statistics_of_faint_images_for_both": (
            ("    return {", "    update_bn([task.faint.tensors[0]], model)\n    return {"),
        ),
        "lower_rate": LOWER_RATE["0.1"],
        "smaller_momentum": (("model = mlp()", "model = mlp(momentum=0.01)"),),
        "two_networks": (
            ("model = mlp()", "model, other = mlp(), mlp()"),
            ("model(u)", "other(u)"),
            ("model.parameters()", "[*model.parameters(), *other.parameters()]"),
            ('"faint": model', '"faint": other'),
        ),
    },
    "same_digit": {
        "no_batch_norm": (
            ("task.network()", "task.network(); model.embed[1] = nn.Identity(); model.judge[1] = nn.Identity()"),
        ),
        "lower_rate": LOWER_RATE["0.05"],
        "two_steps": (("loss = loss + ", "loss.backward(); loss = "),),
    },
    "loss_spikes": {
        "a_little_noise": (("x.repeat(2, 1)", "x.repeat(2, 1) + 0.05 * torch.randn(2, 64)"),),
        "lower_rate": LOWER_RATE["0.1"],
        "three_times": (("x.repeat(2, 1), y.repeat(2)", "x.repeat(3, 1), y.repeat(3)"),),
        "back_to_the_error": (("if len(x) == 1:", "if False:"),),
    },
    "small_memory": {
        "lower_rate": (("lr=0.1", "lr=0.025"),),
        "no_batch_norm": (
            ("model = mlp(depth=5)", "model = nn.Sequential(*(m for m in mlp(depth=5) if 'Batch' not in str(m)))"),
        ),
        "more_memory": (("split(2)", "split(32)"),),
    },
    "counter_runs_ahead": {
        "no_checkpoint": (("checkpoint(body, x, use_reentrant=False)", "body(x)"),),
        "half_the_momentum": (("mlp(depth=4)", "mlp(depth=4, momentum=0.05)"),),
        "eval_mode": (("    body, head", "    model.eval()\n    body, head"),),
    },
    "split_archive": {
        "statistics_of_the_company": (("mlp()", "mlp(track_running_stats=False)"),),
        "rank_1_saves_for_both": (("return run_ranks(worker)", "return [run_ranks(worker)[1]] * 2"),),
        "average_at_the_end": (
            (
                "        return model\n",
                "        for b in model.buffers():\n            b.copy_(rank.all_reduce(b) / rank.size)\n        return model\n",
            ),
        ),
        "estimated_anew": (
            (
                "return run_ranks(worker)",
                "models = run_ranks(worker); [update_bn([x], model) for model in models]; return models",
            ),
        ),
        "no_faint_images": (
            (
                "mine = TensorDataset(x.chunk(2)[rank.index], y.chunk(2)[rank.index])",
                "mine = TensorDataset(x[:400], y[:400])",
            ),
        ),
        "lower_rate": LOWER_RATE["0.1"],
    },
    "stops_at_the_epoch": {
        "no_log": (("total = rank.all_reduce(total)", "pass"),),
        "one_rank": (("run_ranks(worker)", "run_ranks(worker, 1)"),),
        "larger_batches": (("batch_size=16", "batch_size=25"),),
    },
}
RIGHT: dict[str, dict[str, Change]] = {
    "folder_by_folder": {
        "a_copy_predicts": (("model(images)", "copy.deepcopy(model).eval()(images)"),),
        "train_in_the_loop": (
            ("        with torch.no_grad():", "        model.eval()\n        with torch.no_grad():"),
            ("            loss =", "            model.train()\n            loss ="),
        ),
    },
    "ported_network": {
        "the_default": (("momentum=0.99", ""),),
        "estimated_anew": (
            (
                "    return model",
                "    update_bn(DataLoader(task.train, batch_size=4, shuffle=True), model)\n    return model",
            ),
        ),
    },
    "dead_pixel": {
        "filled": (("            loss =", "            x = x.nan_to_num()\n            loss ="),),
        "estimated_anew": (
            (
                "    return model",
                "    fine = task.train.tensors[0].isfinite().all(dim=1)\n"
                "    update_bn(task.train.tensors[0][fine].split(100), model)\n    return model",
            ),
        ),
    },
    "moving_average": {
        "estimated_anew": (
            (
                "    return average",
                "    update_bn(DataLoader(task.train, batch_size=100), average)\n    return average",
            ),
        ),
        "buffers_averaged": (
            (
                "            record(",
                "            for mean, new in zip(average.buffers(), model.buffers()):\n"
                "                mean.lerp_(new, 0.1) if new.is_floating_point() else mean.copy_(new)\n            record(",
            ),
        ),
    },
    "half_the_memory": {
        "scaled": (("mlp()", "nn.Sequential(_Scale(), *mlp())"),),
        "statistics_kept": (
            (
                "return copy.deepcopy(model).half()",
                "m = copy.deepcopy(model)\n        [layer.half() for layer in m if isinstance(layer, nn.Linear)]\n        return m",
            ),
        ),
    },
    "borrowed_backbone": {
        "momentum_zero": (
            ("model = nn", "task.backbone[1].momentum = task.backbone[4].momentum = 0.0\n    model = nn"),
            ("model.train()", "model[0].eval()"),
        ),
        "features_once": (("model(x)", "model[1](task.backbone.eval()(x))"),),
    },
    "two_scanners": {
        "one_batch": (
            (
                "loss = loss + functional.cross_entropy(model(u), v)",
                "loss = 2 * loss",
            ),
            ("model(x), y", "model(torch.cat([x, u])), torch.cat([y, v])"),
        ),
        "standardized": (
            ("model = mlp()", "model = nn.Sequential(nn.LayerNorm(64, elementwise_affine=False, eps=0), *mlp())"),
        ),
    },
    "same_digit": {
        "shuffled": (
            (
                "loss = error(model(a, b), yes)",
                "order = torch.randperm(64)\n"
                "            first, second = torch.cat([a, c])[order], torch.cat([b, d])[order]\n"
                "            loss = error(model(first, second), torch.cat([yes, no])[order])",
            ),
            ("loss = loss + error(model(c, d), no)", "loss = 2 * loss"),
        ),
    },
    "loss_spikes": {
        "skipped": (("x, y = x.repeat(2, 1), y.repeat(2)", "continue"),),
        "larger_last_batch": (("batch_size=32", "batch_size=33"),),
    },
    "small_memory": {
        "group_norm": (
            (
                "model = mlp(depth=5)",
                "model = nn.Sequential(*(nn.GroupNorm(8, 64) if 'Batch' in str(m) else m for m in mlp(depth=5)))",
            ),
        ),
    },
    "counter_runs_ahead": {
        "adjusted_momentum": (("mlp(depth=4)", "mlp(depth=4, momentum=1 - 0.9**0.5)"),),
        "norms_outside": (
            (
                "features = checkpoint(body, x, use_reentrant=False)",
                "features = x\n            for layer in body:\n"
                "                features = (layer(features) if isinstance(layer, nn.BatchNorm1d) else\n"
                "                            checkpoint(layer, features, use_reentrant=False))",
            ),
        ),
    },
    "split_archive": {
        "shuffled": (
            ("    x, y = task.train.tensors", "    p = torch.randperm(len(task.train)); x, y = task.train[p]"),
        ),
        "synchronized": (
            (
                "model = copy.deepcopy(start)",
                "model = copy.deepcopy(start); model[1], model[4] = SyncBatchNorm(64, rank), SyncBatchNorm(64, rank)",
            ),
            ("        return model", "        return copy.deepcopy(model)"),
        ),
    },
    "stops_at_the_epoch": {
        "padded": (
            ("x, y = task.train.tensors", "x, y = (torch.cat([each, each[:1]]) for each in task.train.tensors)"),
        ),
        "truncated": (("x, y = task.train.tensors", "x, y = (each[:800] for each in task.train.tensors)"),),
    },
}


class _Scale(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x / 4095


def treated(case: Case, change: Change) -> Callable[..., Any]:
    """The broken run with each first text replaced by the second."""
    code = case.code(case.broken)
    for old, new in change:
        assert old in code, (case.id, old)
        code = code.replace(old, new)
    names: dict[str, Any] = {**NAMES, "_Scale": _Scale}
    exec(code, names)
    function = names["train"]
    assert callable(function)
    return function
