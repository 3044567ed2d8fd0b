"""Product categorization from text and images; `load_model` reads what a run leaves.

>>> from components import load_model
>>> model = load_model("runs/mine/model")
>>> model.predict(dataframe).codes
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from components.lifecycle.model import load_model

__all__ = ["load_model"]


def __getattr__(name: str) -> Any:
    if name != "load_model":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Only where it is asked for: compiling imports this package too, and needs no torch.
    from components.lifecycle.model import load_model

    return load_model
