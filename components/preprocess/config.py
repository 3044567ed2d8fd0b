"""What can be set of preprocessing: where a catalog lies, how it is read and split."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PositiveInt

from components.core.configuration import Config, Share, parse_config, setting
from components.core.errors import InputError

IMAGE_NAME = "image_{image_id}_product_{product_id}.jpg"
OF_THE_PIPELINE = "a parameter of the whole pipeline, set it there"


@dataclass(frozen=True)
class Sources:
    """Where the catalog's files lie: mounted paths or URIs; "" where there is none."""

    products: str
    labels: str = ""
    images: str = ""
    test_products: str = ""
    test_images: str = ""
    test_labels: str = ""
    class_names: str = ""  # JSON or a table: code -> name, and the parents' names or codes
    corrections: str = ""  # a table of product_id and code: labels that a person put right

    @property
    def labeled(self) -> dict[str, str]:
        """The files that the labeled products are read from, by name; "" where there is none."""
        return {name: uri for name, uri in asdict(self).items() if not name.startswith("test_")}

    @property
    def unlabeled(self) -> dict[str, str]:
        """The files that the products to categorize are read from, by name; "" where it is not needed."""
        found = {name: uri for name, uri in asdict(self).items() if name.startswith("test_")}
        waiting = not self.labels  # the products file may have rows without a code
        with_images = waiting or (self.test_products and not self.test_images)
        return {
            **found,
            "products": self.products if waiting else "",
            "images": self.images if with_images else "",
        }


def sources_of(parameters: Mapping[str, Any]) -> Sources:
    """The files that a run's `catalog_...` parameters name; those that are not among them are none."""
    named = {field.name: parameters.get(f"catalog_{field.name}", "") for field in fields(Sources)}
    return Sources(**named)


class PreprocessConfig(Config):
    """How a catalog is read and split."""

    columns: str = setting("", "field=column,... for catalogs in neither of the challenge's dialects")
    encoding: str = setting(
        "", "of text files that are not UTF-8, such as cp1252 or cp1251; empty to detect it"
    )
    quotes: Literal["", "none", "doubled"] = setting(
        "",
        "of delimited products and labels, and of class names that cannot be read else: none where they are "
        "text, doubled where they enclose fields; empty to detect it",
    )
    match_ids: Literal["text", "number"] = setting(
        "text", "how ids of products and labels are compared: as they are, or 0012, 12.0 and 1.2E1 as 12"
    )
    image_name: str = setting(IMAGE_NAME, "how an image file is called; the challenge's naming", expert=True)
    image_separator: str = setting(
        "",
        "between the names of several images in one cell, of which the first that can be used is taken; "
        "empty for comma, semicolon, bar or a new line",
        expert=True,
    )
    max_image_pixels: Annotated[int, Field(gt=0, le=100_000_000)] = setting(
        25_000_000,
        "pixels of an image; larger JPEGs are read at a half to an eighth of their size, up to 100 million "
        "pixels, and others count as images that cannot be used",
        expert=True,
    )
    validation_share: Annotated[float, Field(gt=0, le=0.5)] = setting(
        0.1,
        'share of the products that validate: "training and validation set at a ratio of 9:1"',
        paper="4.1",
    )
    on_bad_image: Literal["quarantine", "keep"] = setting(
        "quarantine",
        "what happens to a labeled product whose image cannot be used; a test product is kept without it",
        expert=True,
    )
    max_test_without_image: Share = setting(
        1,
        "share of the test products that may be without a usable image before the run stops; "
        "over a half is warned of",
        expert=True,
    )
    min_products: PositiveInt = setting(1, "classes of fewer labeled products are small")
    small_classes: Literal["keep", "drop", "merge"] = setting(
        "keep", "what happens to them; of too few different products none is validated or denoised"
    )
    class_separator: str = setting(
        " > ",
        'between the names of a class\'s parents and its own in the file of class names, "Shoes > Boots"; '
        "empty to take every name as it is",
    )
    class_columns: str = setting(
        "", "code=column,name=column,parent=column of a table of class names; empty for these three names"
    )
    merged_class: str = setting("other", "code of the class that small ones are merged into")
    max_quarantined: Share = setting(0.02, "share of rows that may be left out before the run stops")

    OLD_KEYS: ClassVar = {"folds": OF_THE_PIPELINE, "seed": OF_THE_PIPELINE}

    def problems(self) -> Iterator[str]:
        if not self.merged_class.strip():
            yield "merged_class is empty: expected the code of a class"
        if self.class_separator and not self.class_separator.strip():
            yield "class_separator is a space: names have spaces too; expected a sign, or an empty text"
        try:
            "".encode(self.encoding or "utf-8")
        except LookupError:
            yield f"encoding = {self.encoding!r}: not known; name one such as cp1252 or cp1251"
        try:
            self.image_name.format(image_id="", product_id="")
        except (KeyError, IndexError, ValueError):
            yield f"image_name = {self.image_name!r}: expected a name with {{image_id}} and {{product_id}}"


def fold_count(folds: list) -> int:
    """How many folds a pipeline's list of fold numbers names.

    Raises:
        InputError: not 0, 1, 2, ... in order, or fewer than two.
    """
    if len(folds) < 2 or folds != list(range(len(folds))):
        raise InputError(
            f"folds = {folds}: expected the numbers from 0 on in order, [0, 1, 2, 3] for four folds"
        )
    return len(folds)


def parse_shard_size(size: int) -> int:
    """Checks of how many products a shard is.

    Raises:
        InputError: of none.
    """
    if size < 1:
        raise InputError(f"{size}: expected one product or more to a shard")
    return int(size)


# The pipeline's parameters that this stage reads, and what makes of each what the stage takes.
PARAMETERS = {
    "preprocess_config": partial(parse_config, PreprocessConfig, where="preprocess configuration"),
    "preprocess_shard_size": parse_shard_size,
    "denoise_folds": fold_count,
}
