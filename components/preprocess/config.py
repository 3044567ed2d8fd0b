"""What can be set of preprocessing: where a catalog lies, how it is read and split."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from components.core.configuration import parse_config
from components.core.errors import InputError

IMAGE_NAME = "image_{image_id}_product_{product_id}.jpg"


@dataclass(frozen=True)
class Sources:
    """Where the catalog's files lie: mounted paths or URIs; "" where there is none."""

    products: str
    labels: str = ""
    images: str = ""
    test_products: str = ""
    test_images: str = ""
    test_labels: str = ""
    class_names: str = ""  # JSON: code -> name
    corrections: str = ""  # TSV with product_id and code: labels that a person put right


@dataclass(frozen=True)
class PreprocessConfig:
    """How a catalog is read and split.

    Attributes:
        columns: field=column,... for catalogs in neither of the challenge's dialects.
        image_name: how an image file is called (the challenge's naming).
        validation_share: paper, section 4.1: "training and validation set at a ratio of 9:1".
        folds: paper, section 4.1: "4-fold cross-validation" for noise reduction.
        on_bad_image: what happens to a labeled product whose image cannot be used. A test product is
            always kept, without an image.
        max_quarantined: share of rows that may be left out before the run stops.
    """

    columns: str = ""
    image_name: str = IMAGE_NAME
    validation_share: float = 0.1
    folds: int = 4
    on_bad_image: Literal["quarantine", "keep"] = "quarantine"
    max_quarantined: float = 0.02
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.validation_share <= 0.5:
            raise ValueError(f"validation_share = {self.validation_share}: expected between 0 and 0.5")
        if self.folds < 2:
            raise ValueError(f"folds = {self.folds}: expected at least 2")
        try:
            self.image_name.format(image_id="", product_id="")
        except (KeyError, IndexError, ValueError) as error:
            raise ValueError(
                f"image_name = {self.image_name!r}: expected a name with {{image_id}} and {{product_id}}"
            ) from error


def parse_preprocess_config(values: Mapping[str, Any], **outside: Any) -> PreprocessConfig:
    """Makes a configuration of what a run's form gives.

    Args:
        outside: `folds` and `seed`, which are parameters of the whole pipeline.

    Raises:
        InputError: an unknown key, a wrong value, or a key that is the whole pipeline's.
    """
    where = "preprocess configuration"
    for key in ("folds", "seed"):
        if key in values:
            raise InputError(f"{where}: {key} is a parameter of the whole pipeline: set it there")
    return parse_config(PreprocessConfig, {**values, **outside}, where=where)


def fold_count(folds: list) -> int:
    """How many folds a pipeline's list of fold numbers names.

    Raises:
        InputError: not 0, 1, 2, ... in order.
    """
    if [int(fold) for fold in folds] != list(range(len(folds))):
        raise InputError(
            f"folds = {folds}: expected the numbers from 0 on in order, [0, 1, 2, 3] for four folds"
        )
    return len(folds)
