"""Small packages of models for the store, and a process that promotes one of them."""

from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from components.core.artifacts import write_json, write_manifest
from components.core.errors import InputError
from components.lifecycle.champion import promote, read_champion
from components.lifecycle.store import ModelStore


def write_package(
    folder: Path, number: int = 1, *, day: int = 0, threshold: dict[str, Any] | None = None
) -> Path:
    """A package without classifiers, trained on a day of January."""
    write_json(folder / "model.json", {"classes": ["10", "20"], "number": number, "threshold": threshold})
    write_json(folder / "text" / "tiny" / "config.json", {"name": "tiny"})
    created = f"2026-01-{day or number:02d}T03:00:00+00:00"
    metrics = {"macro_f1": 0.8 + number / 100, "accuracy": 0.9}
    write_manifest(
        folder,
        format=1,
        name="product-categorization",
        created=created,
        metrics=metrics,
        digests={"products": "a"},
    )
    return folder


def promote_at_once(place: str, version: str, barrier: Barrier, outcome: Path) -> None:
    """Reads the champion, waits until the other process has too, and promotes a version."""
    store = ModelStore(place)
    champion, found = read_champion(store), store.version(version)
    barrier.wait(60)
    try:
        promote(store, found, instead_of=champion, why="better", by=f"run of {version}")
        outcome.write_text("promoted", encoding="utf-8")
    except InputError as error:
        outcome.write_text(str(error), encoding="utf-8")
