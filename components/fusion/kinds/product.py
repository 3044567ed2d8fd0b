"""The product of what the inputs say beyond the class frequencies; not the paper's."""

from typing import ClassVar, Literal

from components.core.kinds import Kind
from components.fusion.config import DecisionLevelConfig


class ProductConfig(DecisionLevelConfig):
    """The product of what the inputs say beyond the class frequencies, with an exponent each."""

    kind: Literal["product"] = "product"

    OLD_KEYS: ClassVar = DecisionLevelConfig.OLD_KEYS | {"balance": "every row counts alike"}


KIND = Kind(ProductConfig, fit="components.fusion.decision_level.fits:fit_products", uses_gpu=False)
