"""`pipeline.py fuse` on probability matrices from elsewhere."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score

from components.core.errors import InputError
from components.data.probabilities import read_matrix
from components.fusion.standalone import fuse as fuse_matrices

ROOT = Path(__file__).parents[2]
CODES = np.array(["10", "20", "30"])
MEAN: dict[str, Any] = {"kind": "mean", "folds": 4, "seed": 0}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    ids = np.array([f"p{i}" for i in range(400)])
    labels = rng.integers(0, 3, 400)
    for name, strength in (("text1", 2.0), ("text2", 1.5), ("image", 1.0)):
        logits = rng.normal(0, 1, (400, 3))
        logits[np.arange(400), labels] += strength
        pred_probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        order = rng.permutation(400)
        np.savez(
            tmp_path / f"{name}.npz",
            ids=ids[order],
            classes=CODES,
            pred_probs=pred_probs[order].astype(np.float32),
        )
    rows = [f"{product}\t{CODES[label]}" for product, label in zip(ids, labels, strict=True)]
    (tmp_path / "labels.tsv").write_text("\n".join(["id\tcode", *rows]) + "\n")
    return tmp_path


def fuse(folder: Path, *arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, str(ROOT / "pipeline.py"), "fuse", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done


def test_several_matrices_are_fused_better_than_any_alone(folder: Path):
    arguments = ["--text", "text1.npz", "text2.npz", "--image", "image.npz", "--labels", "labels.tsv"]
    done = fuse(folder, *arguments, "--kind", "logistic", "--output", "out")
    truth = dict(line.split("\t") for line in (folder / "labels.tsv").read_text().splitlines()[1:])
    fused = read_matrix(folder / "out" / "oof.npz", name="fused", classes=CODES.tolist())
    assert set(fused.ids) == set(truth)
    predicted = CODES[fused.pred_probs.argmax(axis=1)]
    expected = f1_score([truth[product] for product in fused.ids], predicted, average="macro")
    assert f"{expected:.4f}" in done.stdout
    single = read_matrix(folder / "text1.npz", name="text1")
    alone = f1_score(
        [truth[product] for product in single.ids], CODES[single.pred_probs.argmax(axis=1)], average="macro"
    )
    assert expected > alone
    assert json.loads((folder / "out" / "metrics.json").read_text())


def test_a_matrix_that_lacks_a_product_is_refused_without_a_traceback(folder: Path):
    with np.load(folder / "image.npz") as file:
        short = {name: file[name] for name in file.files}
    np.savez(folder / "image.npz", ids=short["ids"][1:], classes=CODES, pred_probs=short["pred_probs"][1:])
    arguments = ["--text", "text1.npz", "--image", "image.npz", "--labels", "labels.tsv", "--kind", "mean"]
    done = fuse(folder, *arguments, "--output", "out", status=2)
    assert "image.npz" in done.stderr
    assert str(short["ids"][0]) in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["ids", "classes"])
def test_ids_and_classes_are_lists(name: str, folder: Path, tmp_path: Path):
    with np.load(folder / "text1.npz") as file:
        np.savez(folder / "text1.npz", **{**dict(file), name: file[name][:, None]})
    with pytest.raises(InputError, match=rf"text1.*: {name} has shape \(\d+, 1\), expected one dimension"):
        fuse_matrices([folder / "text1.npz"], [], folder / "labels.tsv", **MEAN, output=tmp_path)


def test_labels_without_a_header_keep_their_first_row(folder: Path):
    table = (folder / "labels.tsv").read_text()
    (folder / "bare.tsv").write_text(table.partition("\n")[2])
    arguments = ["--text", "text1.npz", "--image", "image.npz", "--kind", "mean"]
    fuse(folder, *arguments, "--labels", "labels.tsv", "--output", "with")
    fuse(folder, *arguments, "--labels", "bare.tsv", "--output", "without")
    assert (folder / "with" / "oof.npz").read_bytes() == (folder / "without" / "oof.npz").read_bytes()


def labels_with_titles(folder: Path, separator: str, ending: str) -> Path:
    lines = [line.split("\t") for line in (folder / "labels.tsv").read_text().splitlines()]
    titles = ["title", *["x"] * (len(lines) - 1)]
    titles[4], titles[40] = '"Lamp', f"Screen 24{ending}"
    rows = [separator.join([line[0], title, line[1]]) for line, title in zip(lines, titles, strict=True)]
    rows[0] = separator.join(["id", "title", "code"])
    path = folder / "titles.txt"
    path.write_text("\n".join(rows) + "\n")
    return path


def test_stray_quotes_in_a_column_beside_swallow_no_label(folder: Path, tmp_path: Path):
    text, ids = [folder / "text1.npz"], (folder / "labels.tsv").read_text().count("\n") - 1
    fuse_matrices(text, [], labels_with_titles(folder, "\t", '"'), **MEAN, output=tmp_path)
    assert json.loads((tmp_path / "metrics.json").read_text())["rows"] == ids
    with pytest.raises(
        InputError, match="line 5: a quote opens here and the field that it opens would hold whole records"
    ):
        fuse_matrices(text, [], labels_with_titles(folder, ",", '"'), **MEAN, output=tmp_path)


@pytest.mark.parametrize("option", ["labels", "text"])
def test_a_pipe_is_refused_at_once(option: str, folder: Path, tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    given = {"text": folder / "text1.npz", "labels": folder / "labels.tsv", option: tmp_path / "pipe"}
    with pytest.raises(InputError, match="a pipe, a socket or a device"):
        fuse_matrices([given["text"]], [], given["labels"], **MEAN, output=tmp_path)


def test_the_labels_encoding_and_quotes_may_be_set(folder: Path):
    path, codes = folder / "labels.tsv", ["M\xfctze", "Schlo\xdf", "B\xf6rse"]
    for name in ("text1", "image"):
        with np.load(folder / f"{name}.npz") as file:
            np.savez(folder / f"{name}.npz", **{**dict(file), "classes": np.array(codes)})
    text = path.read_text()
    for old, new in zip(CODES, codes, strict=True):
        text = text.replace(f"\t{old}\n", f"\t{new}\n")
    path.write_bytes(text.encode("cp850"))
    arguments = ["--text", "text1.npz", "--image", "image.npz", "--labels", "labels.tsv", "--kind", "mean"]
    fuse(folder, *arguments, "--encoding", "cp850", "--quotes", "none", "--output", "out")
    assert json.loads((folder / "out" / "metrics.json").read_text())["rows"] == 400
