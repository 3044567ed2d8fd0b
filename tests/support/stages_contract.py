"""The import contract of pyproject.toml, whose layer of stages comes from the table of stages."""

from typing import Any

from importlinter.contracts.layers import LayersContract

from components.core.project import STAGE_NAMES


class StagesContract(LayersContract):
    """Layers of which one, called STAGES, stands for every stage; stages are independent of each other."""

    def __init__(self, name: str, session_options: dict[str, Any], contract_options: dict[str, Any]) -> None:
        layers = [layer.replace("STAGES", " | ".join(STAGE_NAMES)) for layer in contract_options["layers"]]
        super().__init__(name, session_options, {**contract_options, "layers": layers})
