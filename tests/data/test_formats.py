"""The files that pass between stages: written whole, checked when read."""

import errno
import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from components.core.artifacts import read_manifest, whole_file, write_json, write_manifest
from components.core.environment import FINISHED_VARIABLE
from components.core.errors import InputError
from components.core.reading import read_json
from components.core.stage import Result, run_stage
from components.data.image_store import ImageStore, write_image_store
from components.data.probabilities import (
    Classifier,
    Probabilities,
    read_classifier,
    read_matrix,
    write_classifier,
    write_matrix,
)
from components.data.uris import fetch

IDS = np.array(["a", "b", "c"], dtype=object)
GOOD = np.array([[0.2, 0.8], [0.5, 0.5], [1.0, 0.0]], np.float32)


def save(path: Path, **arrays) -> Path:
    defaults = {"ids": np.array(["a", "b", "c"]), "classes": np.array(["10", "20"]), "pred_probs": GOOD}
    np.savez(path, **{**defaults, **arrays})
    return path


def write_and_fail(path: Path, error: Exception) -> None:
    with whole_file(path) as temporary:
        temporary.write_text("half")
        raise error


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(RuntimeError):
        write_and_fail(path, RuntimeError())
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_is_named_with_path_and_bytes(tmp_path: Path):
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(OSError, match=r"after writing 4 bytes of .*model"):
        write_and_fail(tmp_path / "model", full)


def test_not_a_number_never_reaches_json(tmp_path: Path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "metrics.json", {"macro_f1": float("nan")})


def test_a_changed_file_is_detected_by_its_digest(tmp_path: Path):
    (tmp_path / "data").write_text("12345")
    write_manifest(tmp_path)
    assert read_manifest(tmp_path)["files"]["data"]["bytes"] == 5
    (tmp_path / "data").write_text("12346")
    with pytest.raises(InputError, match="data: changed since it was written"):
        read_manifest(tmp_path)


def test_an_unfinished_artifact_is_refused(tmp_path: Path):
    (tmp_path / "data").write_text("12345")
    with pytest.raises(InputError, match="did not finish"):
        read_manifest(tmp_path)


def test_a_classifier_is_read_as_it_was_written(tmp_path: Path):
    matrix = Probabilities(IDS, ("10", "20"), GOOD)
    write_classifier(
        tmp_path,
        Classifier("tfidf", "text", {"final": {"test": matrix}, "epoch3": {"test": matrix}}, {"n": 1}),
    )
    classifier = read_classifier(tmp_path, classes=("10", "20"))
    assert (classifier.name, classifier.modality, list(classifier.matrices), classifier.metadata) == (
        "tfidf",
        "text",
        ["final", "epoch3"],
        {"n": 1},
    )
    assert np.array_equal(classifier.matrices["epoch3"]["test"].pred_probs, GOOD)
    assert classifier.matrices["final"]["test"].ids.tolist() == ["a", "b", "c"]


def test_rows_are_joined_by_id(tmp_path: Path):
    matrix = Probabilities(IDS, ("10", "20"), GOOD)
    assert np.array_equal(matrix.aligned(["c", "a"], where="x"), GOOD[[2, 0]])
    with pytest.raises(InputError, match="no probabilities for 1 of 2 products, the first is 'z'"):
        matrix.aligned(["a", "z"], where="x")


@pytest.mark.parametrize(
    "arrays, message",
    [
        ({"pred_probs": np.where(GOOD == 0.5, np.nan, GOOD)}, r"row 1 \(product 'b'\) is not a number"),
        ({"pred_probs": GOOD * 0.9}, r"row 0 \(product 'a'\) does not sum to 1: sum 0.9"),
        (
            {"pred_probs": GOOD + np.array([0.3, -0.3], np.float32)},
            r"row 2 \(product 'c'\) is not within 0 and 1",
        ),
        ({"classes": np.array(["20", "10"])}, r"its classes are \[20, 10\] \(2\), expected \[10, 20\]"),
        ({"ids": np.array(["a", "b", "a"])}, "row 2: id 'a' occurs twice"),
        ({"ids": np.array(["a", "b"])}, r"has shape \(3, 2\), expected \(2, 2\)"),
        ({"ids": np.array(["a", "b", None], dtype=object)}, "not an .npz of plain arrays"),
    ],
)
def test_a_bad_matrix_is_refused_by_file_row_and_classifier(tmp_path: Path, arrays: dict, message: str):
    path = save(tmp_path / "bad.npz", **arrays)
    with pytest.raises(InputError, match=message) as refused:
        read_matrix(path, name="rival", classes=("10", "20"))
    assert "bad.npz (classifier rival)" in str(refused.value)


def test_a_bad_matrix_is_never_written(tmp_path: Path):
    with pytest.raises(InputError, match="is not a number"):
        write_matrix(tmp_path / "x.npz", Probabilities(IDS, ("10", "20"), GOOD * np.nan))
    assert not (tmp_path / "x.npz").exists()


def test_images_come_back_by_key(tmp_path: Path):
    images = [(f"key{i}", i + 1, i + 2, bytes([i % 256]) * (i + 1)) for i in range(600)]
    assert write_image_store(tmp_path, images) == 600
    store = ImageStore(tmp_path)
    assert bytes(store.encoded("key599")) == images[599][3]
    assert store.size("key7") == (8, 9)
    assert "key600" not in store
    with pytest.raises(InputError, match="no image 'key600'"):
        store.encoded("key600")


def test_many_images_lie_in_few_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("components.data.image_store.SHARD_BYTES", 40_000)
    images = ((f"key{i}", 1, 1, bytes(100)) for i in range(2000))
    write_image_store(tmp_path, images)
    assert 2 <= len(list(tmp_path.glob("*.arrow"))) <= 8
    assert len(ImageStore(tmp_path)) == 2000


def test_a_stray_file_beside_a_store_does_no_harm(tmp_path: Path):
    (tmp_path / "images-00007.arrow").write_text("left by an attempt that was cut off")
    write_image_store(tmp_path, [("a", 1, 1, b"1")])
    (tmp_path / "stray.arrow").write_text("?")
    assert ImageStore(tmp_path).keys == ["a"]


def test_an_array_that_promises_more_than_follows_is_refused_before_it_is_read(tmp_path: Path):
    path = save(tmp_path / "big.npz")
    header = io.BytesIO()
    shape = {"descr": "<f4", "fortran_order": False, "shape": (10**12, 2)}
    np.lib.format.write_array_header_1_0(header, shape)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in {**members, "pred_probs.npy": header.getvalue()}.items():
            archive.writestr(name, data)
    with pytest.raises(InputError, match=r"pred_probs\.npy promises 8,000,000,000,000 bytes, 0 follow"):
        read_matrix(path, name="rival")


@pytest.mark.parametrize("kind", ["pipe", "folder", "empty", "text", "zip"])
def test_what_is_no_matrix_is_one_line(kind: str, tmp_path: Path):
    path = tmp_path / "x.npz"
    makers = {
        "pipe": lambda: os.mkfifo(path),
        "folder": path.mkdir,
        "empty": path.touch,
        "text": lambda: path.write_text("id,code"),
        "zip": lambda: zipfile.ZipFile(path, "w").close(),
    }
    makers[kind]()
    with pytest.raises(InputError, match=r"x\.npz \(classifier a\): ") as refused:
        read_matrix(path, name="a")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"a": NaN}', '{"a": 1e999}', '{"a": "\\ud800"}', "[" * 100_000, '{"a": Infinity}']
)
def test_json_that_is_none_is_one_line(text: str, tmp_path: Path):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(InputError, match=r"x\.json: not a thing: ") as refused:
        read_json(tmp_path / "x.json", "a thing")
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 500


def test_a_missing_source_is_named(tmp_path: Path):
    with pytest.raises(InputError, match=r"nowhere\.tsv: no such file or folder"):
        fetch(str(tmp_path / "nowhere.tsv"), tmp_path)


def test_a_source_is_fetched_by_uri(tmp_path: Path):
    (tmp_path / "x.tsv").write_text("1")
    assert fetch(f"file://{tmp_path / 'x.tsv'}", tmp_path / "copy").read_text() == "1"


class Work:
    def __init__(self, output: Path) -> None:
        self.output, self.times = output, 0

    def __call__(self) -> Result:
        self.times += 1
        self.output.parent.mkdir(parents=True, exist_ok=True)
        self.output.write_text(f"result {self.times}")
        return Result({"times": self.times}, f"report {self.times}")


class Shown(dict):
    """Where metrics go."""

    def log_metric(self, metric: str, value: float) -> None:
        self[metric] = value


def run(work: Callable[[], Result], output: Path, **inputs: Any) -> dict[str, float]:
    """Runs a stage; its report lies beside its output."""
    shown = Shown()
    report: Any = SimpleNamespace(path=str(output.with_name("report")))
    run_stage("text", work, inputs=inputs, outputs={"out": output}, metrics=shown, report=report)
    return shown


def test_finished_work_is_taken_over_only_while_its_inputs_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(FINISHED_VARIABLE, str(tmp_path / "finished"))
    source = tmp_path / "source"
    source.write_text("1")
    work = Work(tmp_path / "run1" / "out")
    inputs = {"source": source, "seed": 0}
    assert run(work, work.output, **inputs) == {"times": 1}
    again = tmp_path / "run2" / "out"
    assert run(work, again, **inputs) == {"times": 1}
    assert again.read_text() == "result 1"
    assert again.with_name("report").read_text() == "report 1"
    source.write_text("2")
    assert run(work, work.output, **inputs) == {"times": 2}
    assert run(work, work.output, **{**inputs, "seed": 1}) == {"times": 3}


def renamed(manifest: str) -> str:
    return manifest.replace('"times"', '"other"')


@pytest.mark.parametrize(
    "damage", [lambda _: "", lambda _: "{}", lambda _: "[1]", lambda text: text[:40], renamed]
)
def test_a_damaged_manifest_of_finished_work_has_it_done_again(
    damage: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
):
    monkeypatch.setenv(FINISHED_VARIABLE, str(tmp_path / "finished"))
    work = Work(tmp_path / "run1" / "out")
    run(work, work.output)
    [manifest] = (tmp_path / "finished").rglob("manifest.json")
    manifest.write_text(damage(manifest.read_text()))
    with caplog.at_level("WARNING"):
        assert run(work, tmp_path / "run2" / "out") == {"times": 2}
    assert run(work, tmp_path / "run3" / "out") == {"times": 2}


class FolderWork(Work):
    def __call__(self) -> Result:
        inner = self.output / "inner"
        inner.mkdir(parents=True, exist_ok=True)
        (inner / "data").write_text("1")
        write_manifest(inner, name="right")
        write_manifest(self.output)
        self.times += 1
        return Result({"times": self.times}, "report")


@pytest.mark.parametrize("name", ["out/inner/manifest.json", "out/inner/data", "out/manifest.json", "report"])
def test_every_file_that_is_taken_over_is_in_the_digest(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(FINISHED_VARIABLE, str(tmp_path / "finished"))
    work = FolderWork(tmp_path / "run1" / "out")
    run(work, work.output)
    [folder] = (tmp_path / "finished").iterdir()
    text = (folder / name).read_text()
    (folder / name).write_text(text.replace("right", "wrong") + " ")
    assert run(work, work.output) == {"times": 2}
    assert read_manifest(work.output / "inner")["name"] == "right"


def test_a_stray_file_among_finished_work_is_not_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(FINISHED_VARIABLE, str(tmp_path / "finished"))
    work = FolderWork(tmp_path / "run1" / "out")
    run(work, work.output)
    [folder] = (tmp_path / "finished").iterdir()
    (folder / "out" / "stray").write_text("?")
    assert run(work, tmp_path / "run2" / "out") == {"times": 1}
    assert {path.name for path in (tmp_path / "run2" / "out").iterdir()} == {"inner", "manifest.json"}


def test_what_lies_elsewhere_is_asked_for_its_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(FINISHED_VARIABLE, str(tmp_path / "finished"))
    work = Work(tmp_path / "run1" / "out")
    for state, times in (("a", 1), ("a", 1), ("b", 2)):
        assert run(work, work.output, source=lambda state=state: [state]) == {"times": times}


def test_an_input_error_ends_the_stage_with_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    def fail() -> Result:
        raise InputError("row 3 is wrong")

    with pytest.raises(SystemExit) as ended:
        run(fail, tmp_path / "out")
    assert ended.value.code == 2
    assert "error: row 3 is wrong" in capsys.readouterr().out
