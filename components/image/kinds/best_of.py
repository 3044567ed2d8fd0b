"""Several image classifiers of which the best on validation is taken; not the paper's."""

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from components.core.configuration import setting
from components.core.errors import InputError
from components.core.kinds import Kind
from components.image.config import IMAGE_KINDS, ImageConfig


class BestOfConfig(ImageConfig):
    """Trains several image classifiers and takes the one with the least log-loss on validation."""

    CHOOSES_ON_VALIDATION: ClassVar = True

    kind: Literal["best_of"] = "best_of"
    candidates: Annotated[tuple[dict[str, Any], ...], Field(min_length=2)] = setting(
        ..., "image configurations, each with a name of its own; what is cleaned is set beside them"
    )

    def parsed(self) -> list[ImageConfig]:
        """The candidates' configurations.

        Raises:
            InputError: one is wrong, or two have the same name.
        """
        return IMAGE_KINDS.parse_all(self.candidates)

    def problems(self) -> Iterator[str]:
        try:
            candidates = self.parsed()
        except InputError as error:
            yield str(error)
            return
        if any("cleaned" in candidate.model_fields_set for candidate in candidates):
            yield "cleaned is set beside the candidates, for all of them"
        if any(isinstance(candidate, BestOfConfig) for candidate in candidates):
            yield "a candidate must not be of kind best_of itself"


def _wants_gpu(config: BestOfConfig) -> bool:
    return any(IMAGE_KINDS.of(candidate).wants_gpu(candidate) for candidate in config.parsed())


KIND = Kind(
    BestOfConfig,
    fit="components.image.best_of:train_best_of",
    load="components.image.best_of:load_best_of",
    uses_gpu=_wants_gpu,
)
