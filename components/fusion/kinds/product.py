"""The product of what the inputs say beyond the class frequencies; not the paper's."""

from typing import ClassVar, Literal

from components.core.kinds import Kind
from components.fusion.config import DecisionLevelConfig


class ProductConfig(DecisionLevelConfig):
    """The product of what the inputs say beyond the class frequencies, with an exponent each."""

    kind: Literal["product"] = "product"

    OLD_KEYS: ClassVar = DecisionLevelConfig.OLD_KEYS | {"balance": "every row counts alike"}


KIND = Kind(
    ProductConfig,
    fit="components.fusion.decision_level.fits:fit_products",
    load="components.fusion.decision_level.fitted:load_product",
    uses_gpu=False,
)
