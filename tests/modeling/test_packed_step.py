"""The step in static buffers computes what a plain step does; on a CPU a stand-in takes a graph's place."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from encoder_families import CPU, family, some_tokens
from torch import nn

from components.modeling.callbacks import Average
from components.modeling.checkpoint import Checkpoints
from components.modeling.step import OptimizerStep, set_learning_rate
from components.modeling.text import bins, fast_copy, packed_step
from components.modeling.text.fast_copy import FastCopy
from components.modeling.text.forward import PACKABLE
from components.modeling.text.packed_step import PackedStep, StepSettings
from components.modeling.text.packing import logits, make_batch, split_batch
from components.modeling.training import Step, TrainingLoop, TrainingPlan
from components.text.kinds.transformer import TransformerConfig
from components.text.step import Gradients, batch_loss, make_optimizer

WEIGHTS = torch.tensor([1.0, 2.0, 0.5, 1.0, 1.5], dtype=torch.float64)
LABELS = np.arange(200) % 5


def without_dropout(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif isinstance(getattr(module, "attention_dropout", None), float):
            setattr(module, "attention_dropout", 0.0)  # noqa: B010


def batches(count: int = 5, size: int = 16) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.permutation(200)[: size if number != 3 else 5] for number in range(count)]


def plain_losses(model: Any, tokens: Any, config: TransformerConfig) -> list[float]:
    """What anyone would write: the passes' gradients added up, clipped, one step of AdamW."""
    optimizer, losses = make_optimizer(model, config), []
    for rows in batches():
        set_learning_rate(optimizer, 1e-3)
        whole, total = WEIGHTS[torch.from_numpy(LABELS[rows])].sum(), 0.0
        for part in split_batch(model, tokens, rows, config.accumulation):
            batch = make_batch(model, tokens, part, CPU)
            labels = torch.from_numpy(LABELS[batch.rows])
            loss = batch_loss(logits(model, batch), labels, WEIGHTS.float(), whole, config.label_smoothing)
            loss.backward()
            total += loss.item()
        nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(total)
    return losses


def make_step(model: Any, tokens: Any, config: TransformerConfig, **options: Any) -> PackedStep:
    settings = StepSettings(
        config.batch_size, config.accumulation, 128, config.max_grad_norm, config.label_smoothing
    )
    optimizer = make_optimizer(model, config)
    step = PackedStep(model, optimizer, tokens, LABELS, WEIGHTS.float(), settings, **options)
    without_dropout(step.copy.model)
    return step


class Recorded:
    """Stands in for a graph: the work of its capture, called again."""

    def __init__(self) -> None:
        self.captured = 0

    def __call__(self, work: packed_step.Replay) -> packed_step.Replay:
        self.captured += 1
        return work


@pytest.mark.parametrize("accumulation", [1, 3])
@pytest.mark.parametrize("name", PACKABLE)
def test_losses_and_weights_are_those_of_a_plain_step(name, accumulation):
    config = TransformerConfig(
        name="x", batch_size=16, accumulation=accumulation, layer_decay=0.9, label_smoothing=0.1
    )
    tokens = some_tokens(200, types=name == "bert")
    # In double precision, as Adam makes a step of its full size of a gradient that is zero but for rounding.
    plain, packed = family(name).double(), family(name).double()
    plain.train()
    without_dropout(plain)
    expected = plain_losses(plain, tokens, config)
    capture = Recorded()
    step = make_step(packed, tokens, config, dtype=torch.float64, capture=capture)
    got = [step(rows, 1e-3).item() for rows in batches()]
    np.testing.assert_allclose(got, expected, atol=1e-6)
    for one, other in zip(packed.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)
    assert capture.captured == len(step.replays) > 1


def averaging(model: Any, step: Step, folder: Path | None = None) -> tuple[TrainingLoop, Average]:
    """A training whose weights are averaged, from its start or the checkpoint in `folder`."""
    plan = TrainingPlan("x", epochs=1, epoch_steps=5, learning_rate=lambda step: 1e-3 * (step + 1), seed=1)
    average = Average(model, 0.8)
    checkpoints = Checkpoints(lambda: folder) if folder else None
    return TrainingLoop(step, plan, {"average": average}, checkpoints=checkpoints), average


@pytest.mark.parametrize("accumulation", [1, 3])
def test_averaged_weights_are_those_of_a_plain_step_and_a_stop_changes_none(tmp_path, accumulation):
    config = TransformerConfig(name="x", batch_size=16, accumulation=accumulation, ema=0.8)
    tokens = some_tokens(200)
    plain = family("camembert").double()
    without_dropout(plain)
    gradients = Gradients(plain, tokens, LABELS, WEIGHTS.float(), config, pause=lambda: None)
    step = OptimizerStep(plain, make_optimizer(plain, config), gradients, max_grad_norm=config.max_grad_norm)
    expected, expected_average = averaging(plain, step)
    for rows in batches():
        expected.take_step(rows)
    for part in (batches()[:2], batches()[2:]):
        packed = family("camembert").double()
        captured = make_step(packed, tokens, config, dtype=torch.float64, capture=Recorded())
        loop, average = averaging(packed, captured, tmp_path)
        for rows in part:
            loop.take_step(rows)
        loop.save()
    assert loop.resumed_at == 2
    np.testing.assert_allclose(loop.losses, expected.losses, atol=1e-6)
    for got, wanted in ((packed, plain), (average.average, expected_average.average)):
        for one, other in zip(got.parameters(), wanted.parameters(), strict=True):
            torch.testing.assert_close(one, other, atol=1e-6, rtol=0)
    assert (next(plain.parameters()) - next(expected_average.average.parameters())).abs().max() > 1e-4


def test_a_bin_is_full_and_its_stand_ins_weigh_nothing():
    tokens = some_tokens(200)
    step = make_step(
        family("camembert"), tokens, TransformerConfig(name="x", batch_size=16), dtype=torch.float32
    )
    for rows in batches():
        arrays = bins.fill_bin(step.encoder, tokens, LABELS, rows, size=step._size([rows]), slots=step.slots)
        lengths = np.diff(arrays["ends"])
        assert len(arrays["input_ids"]) % bins.BIN_TOKENS == 0 == arrays["ends"][0]
        assert arrays["ends"][-1] == len(arrays["input_ids"])
        assert len(lengths) == step.slots
        assert lengths.min() >= 1
        assert lengths.max() <= 128
        assert sorted(arrays["labels"][: len(rows)]) == sorted(LABELS[rows])
        assert set(arrays["labels"][len(rows) :]) == {bins.IGNORED}


def test_a_step_goes_on_where_graphs_cannot_be_captured(caplog):
    def refuse(work: packed_step.Replay) -> packed_step.Replay:
        raise RuntimeError("operation not permitted when stream is capturing")

    tokens, config = some_tokens(200), TransformerConfig(name="x", batch_size=16)
    losses = {}
    for name, capture in (("refused", refuse), ("direct", packed_step.run_directly)):
        step = make_step(family("camembert"), tokens, config, dtype=torch.float32, capture=capture)
        losses[name] = [step(rows, 1e-3).item() for rows in batches()]
    assert losses["refused"] == losses["direct"]
    assert caplog.text.count("no CUDA graph") == 1


def test_masters_keep_what_low_precision_would_lose():
    tokens = some_tokens(200)
    model = family("camembert")
    step = make_step(model, tokens, TransformerConfig(name="x", batch_size=16))
    before = [parameter.detach().clone() for parameter in model.parameters()]
    step(batches()[0], 1e-7)
    assert step.copy.model.dtype == torch.bfloat16
    moved = [(one != other).any().item() for one, other in zip(model.parameters(), before, strict=True)]
    assert sum(moved) > len(moved) / 2


def test_a_resumed_step_goes_on_as_if_nothing_had_happened():
    tokens, config = some_tokens(200), TransformerConfig(name="x", batch_size=16)
    first = make_step(family("camembert"), tokens, config, dtype=torch.float32)
    for rows in batches(2):
        first(rows, 1e-3)
    saved = {name: tensor.clone() for name, tensor in first.state_dict().items()}
    expected = [first(rows, 1e-3).item() for rows in batches(4)[2:]]
    second = make_step(family("camembert"), tokens, config, dtype=torch.float32)
    second.load_state_dict(saved)
    assert [second(rows, 1e-3).item() for rows in batches(4)[2:]] == expected


def test_the_copy_takes_over_weights_that_were_set_from_outside():
    model = family("bert")
    copy = FastCopy(model, torch.float32)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    copy.load()
    for view, master in zip(copy.like_masters(copy.weights), model.parameters(), strict=True):
        torch.testing.assert_close(view, master, atol=0, rtol=0)


def test_the_memory_of_a_bin_is_estimated_for_the_longest_text():
    config = TransformerConfig(name="x", batch_size=16)
    step = make_step(family("camembert"), some_tokens(200), config, dtype=torch.float32)
    memory, weights = step.memory(), step.flat.numel()
    assert memory.fixed >= 3 * 4 * weights
    hidden, layers, longest = 48, 3, 128
    assert memory.sample > 4 * longest * hidden * 10 * layers  # ten rows of each layer and more


def test_private_operations_of_torch_have_the_arguments_that_are_used():
    schema = torch.ops.aten._flash_attention_forward.default._schema
    names = [argument.name for argument in schema.arguments]
    assert names[:10] == [
        *("query", "key", "value", "cum_seq_q", "cum_seq_k", "max_q", "max_k"),
        *("dropout_p", "is_causal", "return_debug_mask"),
    ]
    assert {"scale", "window_size_left", "window_size_right"} <= set(names)
    for operation, expected in (
        (fast_copy.COPY_EACH, ["self", "src"]),
        (fast_copy.ADD_EACH, ["self", "other"]),
    ):
        assert [argument.name for argument in operation._schema.arguments][:2] == expected
