"""A copy of an encoder to multiply with, beside the masters that an optimizer moves."""

import copy
import re
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from components.modeling.text.attention import FusedSelfAttention

SEPARATE = re.compile(r"(.+)\.(query|key|value)\.(weight|bias)")
# torch has no public name for these: one launch for many small tensors.
COPY_EACH, ADD_EACH = torch.ops.aten._foreach_copy_.default, torch.ops.aten._foreach_add_.List


class FastCopy:
    """A copy of a model to multiply with: in another precision, query, key and value in one product.

    Args:
        model: holds the masters, float32; `load` takes their values over.
    """

    def __init__(self, model: PreTrainedModel, dtype: torch.dtype) -> None:
        self.masters = list(model.parameters())
        self.model = copy.deepcopy(model).to(dtype)  # type: ignore[arg-type]
        for module in list(self.model.modules()):
            separate = getattr(module, "self", None)
            if isinstance(separate, nn.Module) and hasattr(separate, "query"):
                module.self = FusedSelfAttention(separate)
        self.weights = list(self.model.parameters())
        number = {id(weight): place for place, weight in enumerate(self.weights)}
        self.parts: list[tuple[int, int | None]] = []  # of each master: which weight, which third of it
        for name, _ in model.named_parameters():
            weight, third = self._place(name)
            self.parts.append((number[id(weight)], third))
        self.load()

    def _place(self, name: str) -> tuple[nn.Parameter, int | None]:
        separate = SEPARATE.fullmatch(name)
        if separate and isinstance(fused := self.model.get_submodule(separate[1]), FusedSelfAttention):
            return getattr(fused, separate[3]), ("query", "key", "value").index(separate[2])
        return self.model.get_parameter(name), None

    def load(self) -> None:
        """Takes over the masters' values."""
        with torch.no_grad():
            COPY_EACH(self.like_masters([weight.data for weight in self.weights]), self.masters)

    def like_masters(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Views of one tensor a weight (or its gradient), one a master."""
        return [
            tensors[place] if third is None else tensors[place].chunk(3)[third] for place, third in self.parts
        ]
