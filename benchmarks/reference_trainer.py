"""The Hugging Face Trainer on given batches, and encoders of each family with random weights."""

import argparse
import tempfile

import numpy as np
import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    PreTrainedModel,
    Trainer,
    TrainingArguments,
)
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_pt_utils import get_length_grouped_indices

from benchmarks.clock import DEVICE, clock
from components.modeling.text.forward import ATTENTION, PACKABLE
from components.modeling.text.tokens import Tokens

CLASSES, PAD = 27, 1


def new_model(options: argparse.Namespace, *, dropout: float, packed: bool) -> PreTrainedModel:
    """An encoder of the chosen family and size with random weights; equal for both sides."""
    torch.manual_seed(0)
    sizes = {
        "vocab_size": options.vocabulary,
        "hidden_size": options.hidden,
        "num_hidden_layers": options.layers,
        "num_attention_heads": options.heads,
        "intermediate_size": 4 * options.hidden,
        "max_position_embeddings": 514,
        "pad_token_id": PAD,
        "num_labels": CLASSES,
        "hidden_dropout_prob": dropout,
        "attention_probs_dropout_prob": dropout,
    }
    if options.family == "distilbert":
        names = {"dim": "hidden", "n_layers": "layers", "n_heads": "heads"}
        sizes |= {name: getattr(options, option) for name, option in names.items()}
        sizes |= {"hidden_dim": 4 * options.hidden, "dropout": dropout, "attention_dropout": dropout}
        sizes["seq_classif_dropout"] = dropout
    if options.family == "modernbert":
        dropouts = ("attention_dropout", "mlp_dropout", "embedding_dropout", "classifier_dropout")
        ids = {"bos_token_id": 0, "cls_token_id": 0, "eos_token_id": 2, "sep_token_id": 2}
        sizes |= {**dict.fromkeys(dropouts, dropout), **ids}
    if options.family == "deberta-v2":
        sizes |= {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 256}
        sizes |= {"pooler_hidden_size": options.hidden, "pooler_dropout": dropout, "type_vocab_size": 0}
    attention = ATTENTION if packed and options.family in PACKABLE else None
    model = AutoModelForSequenceClassification.from_config(
        AutoConfig.for_model(options.family, **sizes), attn_implementation=attention
    )
    return model.to(DEVICE)


class ReferenceTrainer(Trainer):
    """The Trainer as it is, on batches of a given order, noting every step's loss and end."""

    def __init__(self, *args, **options) -> None:
        super().__init__(*args, **options)
        self.step_losses: list[Tensor] = []
        self.ends: list[float] = []

    def training_step(self, *args, **options) -> Tensor:
        if self.step_losses:
            self.ends.append(clock())
        loss = super().training_step(*args, **options)
        self.step_losses.append(loss)
        return loss


def run_trainer(
    options: argparse.Namespace,
    tokens: Tokens,
    labels: np.ndarray,
    order: np.ndarray,
    *,
    width: int | None,
    dropout: float,
) -> tuple[float, list[float]]:
    """Time of all steps but the first, and each step's loss; `width` None pads to a batch's longest text."""

    def collate(items: list[dict]) -> dict[str, Tensor]:
        longest = width or max(len(item["input_ids"]) for item in items)
        ids = torch.full((len(items), longest), PAD)
        for row, item in enumerate(items):
            ids[row, : len(item["input_ids"])] = torch.as_tensor(item["input_ids"])
        return {
            "input_ids": ids,
            "attention_mask": (ids != PAD).long(),
            "labels": torch.tensor([item["labels"] for item in items]),
        }

    texts = [
        {
            "input_ids": tokens.ids[tokens.offsets[row] : tokens.offsets[row + 1]].tolist(),
            "labels": int(labels[row]),
        }
        for row in order
    ]
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            num_train_epochs=1,
            per_device_train_batch_size=options.batch_size,
            learning_rate=3e-5,
            weight_decay=0.01,
            lr_scheduler_type="linear",
            optim="adamw_torch_fused",
            bf16=DEVICE.type == "cuda",
            use_cpu=DEVICE.type == "cpu",
            train_sampling_strategy="sequential",
            save_strategy="no",
            report_to="none",
            logging_strategy="no",
            disable_tqdm=True,
        )
        model = new_model(options, dropout=dropout, packed=False)
        trainer = ReferenceTrainer(model, arguments, data_collator=collate, train_dataset=texts)
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        end = clock()
    return end - trainer.ends[0], [float(loss) for loss in trainer.step_losses]


def grouped_batches(lengths: np.ndarray, batch_size: int, batches: int) -> np.ndarray:
    """Rows of `batches` batches, evenly spaced over one mega-batch of the Trainer's own sampler."""
    torch.manual_seed(0)
    order = np.array(get_length_grouped_indices(lengths.tolist(), batch_size, mega_batch_mult=50))
    mega = order[: 50 * batch_size].reshape(50, batch_size)
    return mega[np.linspace(0, 49, batches).round().astype(int)].ravel()
