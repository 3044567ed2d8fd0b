"""`python -m components.client.configuration_page`: writes docs/configuration.md from the models."""

import json
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

from pydantic.fields import FieldInfo

from components.core.configuration import Config
from components.core.kinds import Registry
from components.denoise.config import DenoiseConfig
from components.ensemble.config import EnsembleConfig
from components.fusion.config import FUSION_KINDS
from components.image.config import IMAGE_KINDS
from components.lifecycle.config import DriftConfig, GateConfig, RegistriesConfig
from components.preprocess.config import PreprocessConfig
from components.text.config import TEXT_KINDS

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"
HEAD = """# Configuration

Written by `make docs` from the models that check every value. A configuration is a JSON object; give it with
`--param`, in the run form, or in a schedule. The column "paper" has the section that a default comes from.
Keys marked * are for experts.
"""
SINGLE = {
    "preprocess_config": PreprocessConfig,
    "denoise_config": DenoiseConfig,
    "ensemble_config": EnsembleConfig,
    "models_gate": GateConfig,
    "models_registries": RegistriesConfig,
    "drift_config": DriftConfig,
}
LISTS = {"text_configs": TEXT_KINDS, "image_configs": IMAGE_KINDS, "fusion_configs": FUSION_KINDS}


def configuration_page() -> str:
    """The page: a table of keys for each parameter and kind."""
    parts = [HEAD]
    for parameter, config in SINGLE.items():
        parts += [f"## `{parameter}`", _table(config)]
    for parameter, registry in LISTS.items():
        parts += [f"## `{parameter}`", *_kinds(registry)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _kinds(registry: Registry[Any]) -> list[str]:
    found = []
    for name, kind in registry.kinds().items():
        usual = " (where none is named)" if name == registry.default else ""
        summary = (kind.config.__doc__ or "").partition("\n")[0]
        found += [f'### `"kind": "{name}"`{usual}', summary, _table(kind.config)]
    return found


def _table(config: type[Config]) -> str:
    rows = ["| key | type | default | what it sets | paper |", "|---|---|---|---|---|"]
    rows += [_row(key, field) for key, field in config.model_fields.items() if key != "kind"]
    return "\n".join(rows)


def _row(key: str, field: FieldInfo) -> str:
    extra: dict[str, Any] = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    default = "needed" if field.is_required() else f"`{json.dumps(field.default)}`"
    signs = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
    limits = [
        f"{word} {getattr(limit, sign)}"
        for limit in field.metadata
        for sign, word in signs.items()
        if hasattr(limit, sign)
    ]
    kind = ", ".join([_type_name(field.annotation), *limits])
    star = " *" if extra.get("expert") else ""
    what = (field.description or "").replace("|", "\\|")
    return f"| `{key}`{star} | {kind} | {default} | {what} | {extra.get('paper', '')} |"


def _type_name(annotation: Any) -> str:
    if get_origin(annotation) is None:
        return getattr(annotation, "__name__", str(annotation))
    if get_origin(annotation) is Annotated:
        return _type_name(get_args(annotation)[0])
    parts = [part for part in get_args(annotation) if part is not Ellipsis]
    names = [json.dumps(part) if isinstance(part, str) else _type_name(part) for part in parts]
    if get_origin(annotation) in (tuple, dict):
        return "list of " + names[0] if get_origin(annotation) is tuple else "object of " + names[-1]
    return " or ".join(dict.fromkeys(names))


if __name__ == "__main__":
    PAGE.write_text(configuration_page(), encoding="utf-8")
