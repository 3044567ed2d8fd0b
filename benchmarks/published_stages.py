"""The stages as such code is usually published, chained on the splits and folds of a product table."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from cleanlab.filter import find_label_issues
from PIL import Image
from sklearn.metrics import f1_score
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2
from transformers import AutoModelForSequenceClassification, AutoTokenizer, get_linear_schedule_with_warmup

from benchmarks.cleaning import clean_all_rules
from benchmarks.destruction import TENSOR, pil_pair, pil_targets
from benchmarks.end_to_end import FOLDS, Pipeline
from benchmarks.fusion_nets import train_one
from benchmarks.image_step import plain_loss
from components.client.presets import PAPER
from components.data.products import Products
from components.fusion.decision_level.net_training import Schedule
from components.fusion.decision_level.nets import Net
from components.image.network import DCLNetwork, PlainNetwork, build_network
from components.modeling.cross_fitting import stratified_folds

BORDER = 1  # pixels cut off before the destruction, of the published 10 at 448


class Texts(Dataset):
    """Tokenizes one text pair when it is asked for, padded to 128."""

    def __init__(self, tokenizer: Any, table: pd.DataFrame, labels: np.ndarray) -> None:
        self.tokenizer, self.labels = tokenizer, labels
        self.pairs = list(zip(table["title"], table["description"], strict=True))

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor, int]:
        found = self.tokenizer(
            *self.pairs[row], truncation=True, max_length=128, padding="max_length", return_tensors="pt"
        )
        return found["input_ids"][0], found["attention_mask"][0], int(self.labels[row])


class Pictures(Dataset):
    """Reads, decodes and transforms one image when it is asked for; with its destruction where `pairs`."""

    def __init__(self, paths: list[Path], labels: np.ndarray, size: tuple[int, int], how: str) -> None:
        self.paths, self.labels, self.size, self.how = paths, labels, size, how
        resize, crop = size
        random = [v2.RandomRotation([-15, 15]), v2.RandomCrop(crop), v2.RandomHorizontalFlip()]
        steps = random if how == "train" else [v2.CenterCrop(crop)]
        self.transform = v2.Compose([v2.Resize((resize, resize)), *steps, TENSOR])

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> tuple[Any, int]:
        if self.how == "pairs":
            pair = pil_pair(self.paths[row].read_bytes(), *self.size, BORDER)
            return [*map(TENSOR, pair), torch.tensor(pil_targets(*pair))], int(self.labels[row])
        return self.transform(Image.open(self.paths[row]).convert("RGB")), int(self.labels[row])


class Published:
    """The stages chained, on the splits and folds of our own product table."""

    def __init__(self, pipeline: Pipeline, products: Products, fusion_folds: int) -> None:
        self.pipeline, self.products, self.catalog = pipeline, products, pipeline.catalog
        self.fusion_folds = fusion_folds
        self.rows = {split: products.rows(split) for split in ("train", "validation", "test")}
        self.labels = np.maximum(products.labels, 0)
        self.seconds: dict[str, float] = {}

    def run(self) -> np.ndarray:
        """Runs all stages; returns the predictions of the test split."""
        self._time("preprocess", self._clean)
        kept = self._time("denoise", self._denoise)
        texts = self._time("text", lambda: [self._text(config) for config in PAPER["text_configs"]])
        images = self._time("image", lambda: [self._image(config, kept) for config in PAPER["image_configs"]])
        members = self._time("fusion", lambda: self._fuse([*texts, *images], len(texts)))
        return self._time("ensemble", lambda: vote(members))

    def _time(self, stage: str, work: Callable[[], Any]) -> Any:
        start = time.process_time()
        made = work()
        self.seconds[stage] = time.process_time() - start
        return made

    def _clean(self) -> None:
        for part in ("train", "test"):
            table = pd.read_csv(self.catalog / f"X_{part}.tsv", sep="\t", quoting=3, keep_default_na=False)
            for column in ("Title", "Description"):
                table[column].apply(clean_all_rules)

    def _paths(self, rows: np.ndarray) -> list[Path]:
        ids = self.products.table["image_id"].to_numpy()[rows]
        folders = np.where(np.isin(rows, self.rows["test"]), "test", "train")
        names = zip(folders, ids, strict=True)
        return [self.catalog / folder / f"image_{i}_product_{i}.jpg" for folder, i in names]

    def _denoise(self) -> np.ndarray:
        """The rows of train without the tenth of the label issues that are ranked worst."""
        rows = self.products.rows("out_of_fold")
        folds = self.products.table["fold"].to_numpy(dtype=float, na_value=-1)[rows]
        pred_probs = np.zeros((len(rows), len(self.products.classes)))
        config = self.pipeline.parse("image", PAPER["image_fold_config"])
        for fold in range(FOLDS):
            network = self._train_images(config, 0, rows[folds != fold], None)
            pred_probs[folds == fold] = self._predict_images(network, config, 0, rows[folds == fold])
        issues = find_label_issues(
            self.labels[rows], pred_probs, return_indices_ranked_by="normalized_margin"
        )
        return np.setdiff1d(self.rows["train"], rows[issues[: len(issues) // 10]])

    def _image(self, config: dict[str, Any], kept: np.ndarray) -> dict[str, np.ndarray]:
        parsed = self.pipeline.parse("image", config)
        fit, network, stage = kept if parsed.cleaned else self.rows["train"], None, 0
        for stage in range(len(parsed.stages())):
            network = self._train_images(parsed, stage, fit, network)
        assert network is not None
        return {
            split: self._predict_images(network, parsed, stage, self.rows[split])
            for split in ("validation", "test")
        }

    def _train_images(
        self, config: Any, number: int, fit: np.ndarray, before: PlainNetwork | None
    ) -> PlainNetwork:
        stage = config.stages()[number]
        torch.manual_seed(0)
        prior = np.full(len(self.products.classes), 1 / len(self.products.classes))
        network = build_network(config, stage, prior).to(memory_format=torch.contiguous_format)  # pyright: ignore
        if before is not None:
            network.load_state_dict(before.state_dict(), strict=False)
        groups = [{"params": p, "lr": 0.01 * factor} for p, factor in network.parameter_groups()]
        optimizer = torch.optim.SGD(groups, momentum=0.9)
        how = "pairs" if isinstance(network, DCLNetwork) else "train"
        pictures = Pictures(self._paths(fit), self.labels[fit], (stage.resize[0], stage.crop[0]), how)
        loader = DataLoader(pictures, stage.batch_size, shuffle=True, drop_last=True)
        for _ in range(stage.epochs):
            for batch, labels in loader:
                optimizer.zero_grad()
                plain_loss(network, batch, labels).backward()
                optimizer.step()
            found = self._predict_images(network, config, number, self.rows["validation"])
            f1_score(self.labels[self.rows["validation"]], found.argmax(axis=1), average="macro")
        return network

    @torch.no_grad()
    def _predict_images(
        self, network: PlainNetwork, config: Any, number: int, rows: np.ndarray
    ) -> np.ndarray:
        stage, network = config.stages()[number], network.eval()
        pictures = Pictures(self._paths(rows), self.labels[rows], (stage.resize[0], stage.crop[0]), "predict")
        batches = [batch for batch, _ in DataLoader(pictures, stage.batch_size)]
        logits = torch.cat([network.class_logits(network.backbone(batch)[1]) for batch in batches])
        network.train()
        return logits.softmax(1).numpy()

    def _text(self, config: dict[str, Any]) -> dict[str, np.ndarray]:
        parsed = self.pipeline.parse("text", config)
        torch.manual_seed(0)
        model = AutoModelForSequenceClassification.from_pretrained(parsed.weights)
        tokenizer, table = AutoTokenizer.from_pretrained(parsed.weights), self.products.table
        sets = {
            split: Texts(tokenizer, table.iloc[rows], self.labels[rows]) for split, rows in self.rows.items()
        }
        loader = DataLoader(sets["train"], parsed.batch_size, shuffle=True)
        optimizer = torch.optim.AdamW(model.parameters(), lr=parsed.learning_rate, weight_decay=0.01)
        steps = parsed.epochs * len(loader)
        schedule = get_linear_schedule_with_warmup(optimizer, steps // 10, steps)
        found: dict[str, np.ndarray] = {}
        for _ in range(parsed.epochs):
            model.train()
            for ids, mask, labels in loader:
                loss = nn.functional.cross_entropy(model(ids, attention_mask=mask).logits, labels)
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                schedule.step()
            found["validation"] = _predict_texts(model, sets["validation"], parsed.batch_size)
            truth = self.labels[self.rows["validation"]]
            f1_score(truth, found["validation"].argmax(axis=1), average="macro")
        return {**found, "test": _predict_texts(model, sets["test"], parsed.batch_size)}

    def _fuse(self, classifiers: list[dict[str, np.ndarray]], texts: int) -> list[np.ndarray]:
        """(T,) predictions of each member on test."""
        of = {split: np.stack([one[split] for one in classifiers]) for split in ("validation", "test")}
        validation, test = of["validation"].astype(np.float32), of["test"].astype(np.float32)
        labels = self.labels[self.rows["validation"]]
        folds = stratified_folds(labels, folds=self.fusion_folds, seed=0)
        pairs = product((0, 6), range(texts), range(texts, len(classifiers)))
        members = []
        for hidden, *inputs in pairs:
            net = Net(f"{hidden}{inputs}", tuple(inputs), hidden)
            columns = np.concatenate([*test[inputs], np.ones((test.shape[1], 1), np.float32)], axis=1)
            votes = []
            for fold in range(int(folds.max()) + 1):
                _, layers = train_one(net, validation, labels, folds, fold=fold, schedule=Schedule(), seed=0)
                votes.append(_predict_net(layers, columns))
            members.append(vote(votes))
        return members


@torch.no_grad()
def _predict_texts(model: Any, texts: Texts, batch: int) -> np.ndarray:
    model.eval()
    found = [model(ids, attention_mask=mask).logits.softmax(1) for ids, mask, _ in DataLoader(texts, batch)]
    return torch.cat(found).numpy()


def _predict_net(layers: Sequence[np.ndarray], columns: np.ndarray) -> np.ndarray:
    outputs = columns @ layers[0].T
    if len(layers) > 1:
        outputs = np.concatenate([np.maximum(outputs, 0), np.ones((len(outputs), 1))], axis=1) @ layers[1].T
    return outputs.argmax(axis=1)


def vote(predicted: Sequence[np.ndarray]) -> np.ndarray:
    """The class that most members say, row by row."""
    return np.array([Counter(row).most_common(1)[0][0] for row in np.stack(predicted, axis=1).tolist()])
