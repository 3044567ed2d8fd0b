"""Reports: one template and one style for all stages; in them the catalog's text is only text."""

import base64
import io
import json
import logging
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from components.core.artifacts import read_manifest
from components.core.errors import InputError
from components.data.class_tree import PATHS
from components.data.image_store import ImageStore
from components.data.prediction_files import read_cells
from components.data.products import Products

log = logging.getLogger(__name__)

Entry = TypeVar("Entry")

ISSUES = "label_issues.tsv"  # what denoise flagged, in its folder
MOST_CLASSES = 300  # rows of a report's tables of classes, which must stay under 2 MiB
WEAK = 0.7  # F1 under which a class is worth a look
ENOUGH = 5  # products of a class, below which its F1 is no ground for advice
TEXT_LIMIT = 160  # characters of any one text in a report
THUMBNAIL = 112  # pixels, the longer side
THUMBNAIL_BYTES = 1_200_000  # of all thumbnails of a report, which must stay under 2 MiB

# Row of results -> what it is, for who has not read the paper whose terms they are.
MEANING = {
    "image": "The best classifier of pictures alone",
    "text": "The best classifier of titles and descriptions alone",
    "feature_level": "One classifier that reads text and picture together",
    "decision_level": "The best combination of what a text and an image classifier find probable",
    "ensemble": "The vote of all combinations: what predicts the new products",
}

_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn"}  # controls, direction overrides, zero width, unassigned
_STACKED_MARKS = re.compile(
    r"([\u0300-\u036f\u0483-\u0489\u1dc0-\u1dff\u20d0-\u20ff]{2})[\u0300-\u036f\u0483-\u0489\u1dc0-\u1dff\u20d0-\u20ff]+"
)


def plain(text: str, limit: int = TEXT_LIMIT) -> str:
    """Text as it may stand in a report: composed, without invisible characters, cut to `limit`.

    Direction overrides and zero-width characters can make a line read as something else; a pile of
    combining marks paints over its neighbors.
    """
    spaced = "".join(
        " " if character.isspace() else "" if unicodedata.category(character) in _INVISIBLE else character
        for character in unicodedata.normalize("NFC", text[: 8 * limit])
    )
    tidy = _STACKED_MARKS.sub(r"\1", " ".join(spaced.split()))
    return tidy if len(tidy) <= limit else tidy[: limit - 1].rstrip() + "…"


def class_label(products: Products, label: int, limit: int = 60) -> str:
    """How a class is called in a report: its code, and its name where the user gave one.

    Where the names of its parents leave no room for its own, it stands without them.
    """
    code = products.classes[label]
    called = class_label_of(code, products.metadata.get("class_names", {}), limit)
    path = products.metadata.get(PATHS, {}).get(code)
    return plain(f"{code} … {path[-1]}", limit) if path and called.endswith("…") else called


def class_label_of(code: str, names: Mapping[str, str], limit: int = 60) -> str:
    """How the class of a code is called, by names of codes."""
    return plain(f"{code} {names.get(code, '')}", limit)


def class_labels(products: Products) -> dict[str, str]:
    """`class_label` of every class, by its code."""
    return {code: class_label(products, label) for label, code in enumerate(products.classes)}


def read_issues(folder: Path) -> pd.DataFrame:
    """Reads what denoise flagged, worst first: the columns of its TSV, `score` float and `removed` bool.

    Raises:
        InputError: it is damaged.
    """
    read_manifest(folder)
    return read_issue_rows(folder / ISSUES)


def read_issue_rows(path: Path) -> pd.DataFrame:
    """Reads the TSV of what denoise flagged, which a run on this machine also leaves beside its results.

    What people decided before, which stands after it, is left out.
    """
    issues = read_cells(path)
    issues = issues.loc[issues["score"] != ""].reset_index(drop=True)
    return issues.assign(score=issues["score"].astype(float), removed=issues["removed"] == "true")


def percent(value: float, digits: int = 2) -> str:
    """0.91438 -> "91.44"."""
    return f"{100 * value:.{digits}f}"


def target_percent(target: float) -> str:
    """0.97 -> "97", 0.995 -> "99.5": never a target that was not asked for."""
    return f"{100 * target:.6g}"


def signed(value: float, digits: int = 2) -> str:
    """-2.1 -> "−2.10", with a minus sign as wide as the plus; nothing before a zero."""
    written = f"{value:+.{digits}f}".replace("-", "−")
    return written if any(digit in written for digit in "123456789") else written[1:]


def many(count: int, one: str, more: str = "") -> str:
    """A count with its noun: "1 row", "1,200 rows"."""
    return f"{count:,} {one if count == 1 else more or one + 's'}"


def check(fine: bool, text: str) -> dict[str, Any]:
    """One line of a report's list at its top: fine, or worth a look, and why."""
    return {"fine": fine, "text": text}


def figure(name: str, value: str, unit: str = "") -> dict[str, str]:
    """One of the large figures at a report's top."""
    return {"name": name, "value": value, "unit": unit}


def words(value: Any) -> str:
    """A configuration's value as one line of text: nested mappings, by the alphabet, and lists too."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {words(inner)}" for key, inner in sorted(value.items()))
    if isinstance(value, list | tuple):
        return "; ".join(words(item) for item in value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # the pipeline's parameters make a float of every number
    return value if isinstance(value, str) else json.dumps(value)


def most_changed(entries: Sequence[Entry], points: Callable[[Entry], float]) -> list[Entry]:
    """As many as a table of classes lists, gains and losses alike, in the order given."""
    by_change = sorted(range(len(entries)), key=lambda place: -abs(points(entries[place])))
    return [entries[place] for place in sorted(by_change[:MOST_CLASSES])]


class Gallery:
    """Cards of products: thumbnail and title.

    Every thumbnail is decoded and encoded anew, so nothing of the catalog's file (EXIF, appended bytes)
    reaches the report. Once `THUMBNAIL_BYTES` are spent, cards have no picture.
    """

    def __init__(self, products: Products, images: ImageStore) -> None:
        self.products, self._images = products, images
        self._spent = 0
        self._made: dict[str, str | None] = {}

    def card(self, row: int, **lines: str | list[str]) -> dict[str, Any]:
        """A product's card for the template; `lines` are further metadata, name by value or values."""
        product = self.products.table.iloc[row]
        key = product["image"]
        thumbnail = self.thumbnail(key) if isinstance(key, str) else None
        title = plain(product["title"], 90)
        named: dict[str, Any] = {name.replace("_", " "): value for name, value in lines.items()}
        named["product"] = product["product_id"]
        return {"id": product["product_id"], "title": title, "thumbnail": thumbnail, "lines": named}

    def thumbnail(self, key: str) -> str | None:
        """A data URI; None where the store has no such image or the report is full."""
        if key not in self._made:
            self._made[key] = self._encode(key) if key in self._images else None
        uri = self._made[key] or ""
        self._spent += len(uri)
        return uri if uri and self._spent <= THUMBNAIL_BYTES else None

    def _encode(self, key: str) -> str:
        with Image.open(io.BytesIO(self._images.encoded(key)), formats=["JPEG"]) as image:
            image.draft("RGB", (2 * THUMBNAIL, 2 * THUMBNAIL))
            small = image.convert("RGB")
        small.thumbnail((THUMBNAIL, THUMBNAIL))
        small.info.clear()  # Pillow would write the file's comment again
        file = io.BytesIO()
        small.save(file, "JPEG", quality=70, optimize=True)
        return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def render(template: str, **context: Any) -> str:
    """Draws `templates/<template>.html.jinja`; everything in `context` but markup is escaped."""
    return _ENVIRONMENT.get_template(f"{template}.html.jinja").render(context)


def safe_report(draw: Callable[[], str]) -> str:
    """The report that `draw` returns; where it fails, a short page that says why.

    The work that a report describes is paid for, so drawing it never fails the stage.
    """
    try:
        return draw()
    except Exception as error:
        known = isinstance(error, InputError)
        log.warning("the report could not be drawn: %s", error, exc_info=not known)
        return render("failure", reason=f"{type(error).__name__}: {error}")


def _shown(value: Any) -> Any:
    # Jinja calls this on every value before escaping it. Markup (charts) is text already escaped.
    if hasattr(value, "__html__"):
        return value
    if not isinstance(value, str) or value.startswith("data:image/jpeg;"):
        return value
    return plain(value, 2000).replace(" %", "\u00a0%")  # a number keeps its unit on its line


_ENVIRONMENT = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    finalize=_shown,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.globals["most_classes"] = MOST_CLASSES
_ENVIRONMENT.filters["percent"] = percent
_ENVIRONMENT.filters["target_percent"] = target_percent
_ENVIRONMENT.filters["signed"] = signed
_ENVIRONMENT.filters["words"] = words
_ENVIRONMENT.filters["count"] = lambda value: f"{value:,}"
