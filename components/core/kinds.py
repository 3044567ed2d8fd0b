"""Kinds of text, image and fusion: modules of each stage's `kinds` package, registered by being there."""

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from components.core.artifacts import MANIFEST, read_manifest
from components.core.configuration import Config, Name, parse_config, setting
from components.core.errors import InputError


class ClassifierConfig(Config):
    """What the configurations of all kinds have in common."""

    name: Name = setting(..., "the classifier's name, unique within a run")

    OLD_KEYS: ClassVar = {"voter": "use 'name'"}


C = TypeVar("C", bound=ClassifierConfig)


@dataclass(frozen=True)
class Kind:
    """One kind of classifier: the `KIND` of its module, which needs nothing that a client has not installed.

    Attributes:
        config: its configuration, with a field `kind: Literal["..."] = "..."` of the module's name.
        fit: the function that fits it, "package.module:function", imported where it is called.
        load: the function that reads a fitted classifier from its folder, named likewise.
        fit_folds: the function that fits several folds in one task, named likewise; "" where each is a task.
        uses_gpu: whether it trains on a GPU where the run has one; may depend on the configuration.
        old_name: what it was called before.
    """

    config: type[ClassifierConfig]
    fit: str
    uses_gpu: bool | Callable[[Any], bool]
    load: str = ""  # a registry refuses a kind without one by its module's name
    fit_folds: str = ""
    old_name: str = ""

    @property
    def name(self) -> str:
        """What users write as "kind"."""
        field = self.config.model_fields.get("kind")
        return field.default if field else ""

    def wants_gpu(self, config: ClassifierConfig) -> bool:
        """Whether a training of this configuration is to be placed on a GPU."""
        return self.uses_gpu if isinstance(self.uses_gpu, bool) else self.uses_gpu(config)

    def load_fit(self) -> Callable[..., Any]:
        """Imports the function that fits it."""
        return _imported(self.fit)

    def load_fit_folds(self) -> Callable[..., Any]:
        """Imports the function that fits several folds."""
        return _imported(self.fit_folds)

    def load_loader(self) -> Callable[..., Any]:
        """Imports the function that reads what it left; `Registry.load` checks the files first."""
        return _imported(self.load)


@dataclass(frozen=True)
class Registry(Generic[C]):
    """The kinds of one stage.

    Attributes:
        stage: its name, for messages.
        package: where the kinds' modules lie.
        base: what their configurations have in common.
        default: the kind of a configuration that names none; "" where it must.
    """

    stage: str
    package: str
    base: type[C]
    default: str = ""

    def kinds(self) -> dict[str, Kind]:
        """Name -> kind of every module of the package, by the alphabet.

        Raises:
            TypeError: a module is no complete kind.
        """
        package = importlib.import_module(self.package)
        modules = pkgutil.iter_modules(package.__path__, f"{self.package}.")
        kinds = [self._kind(importlib.import_module(module.name)) for module in modules]
        return {kind.name: kind for kind in kinds}

    def of(self, config: C) -> Kind:
        """The kind of a configuration."""
        return next(kind for kind in self.kinds().values() if kind.config is type(config))

    def parse(self, values: Mapping[str, Any]) -> C:
        """Makes the configuration that one item of a run's list gives.

        Raises:
            InputError: no such kind, or a key or value of it is wrong.
        """
        if not isinstance(values, Mapping):
            raise InputError(f"{self.stage} configuration {values!r}: expected an object, {{...}}")
        where = f"{self.stage} configuration {values.get('name', 'without a name')}"
        kinds, name = self.kinds(), values.get("kind", self.default)
        if not isinstance(name, str) or name not in kinds:
            raise InputError(f"{where}: {_unknown(name, kinds)}")
        config = parse_config(kinds[name].config, values, where=where)
        assert isinstance(config, self.base)
        return config

    def parse_all(self, configs: Sequence[Mapping[str, Any]]) -> list[C]:
        """Makes the configurations of a run's list.

        Raises:
            InputError: there is none, two have the same name, or see `parse`.
        """
        if not isinstance(configs, list | tuple) or not configs:
            raise InputError(
                f"{self.stage} configurations: expected a list of one or more objects, [{{...}}]"
            )
        parsed = [self.parse(values) for values in configs]
        names = [config.name for config in parsed]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise InputError(
                f"{self.stage} configurations: {', '.join(twice)} is named twice; every name once"
            )
        return parsed

    def any_wants_gpu(self, configs: Sequence[Mapping[str, Any]]) -> bool:
        """Whether the training of any configuration of a run's list is to be placed on a GPU."""
        return any(self.of(config).wants_gpu(config) for config in map(self.parse, configs))

    def load(self, folder: Path, *, check: bool = True, **arguments: Any) -> Any:
        """The classifier that a kind of this stage left in a folder.

        Args:
            check: the files' digests; not needed where a manifest above them has been checked.
            arguments: of the kind's loader: `device`, but for decision-level fusion.

        Raises:
            InputError: the folder holds no model of this stage, or a file is missing or was changed.
        """
        return self.kind_in(folder, check=check).load_loader()(folder, **arguments)

    def kind_in(self, folder: Path, *, check: bool = True) -> Kind:
        """The kind of the classifier in a folder; see `load`."""
        name, kinds = read_manifest(folder, check=check).get("kind"), self.kinds()
        if name not in kinds:
            raise InputError(f"{folder / MANIFEST}: no {self.stage} model: {_unknown(name, kinds)}")
        return kinds[name]

    def _kind(self, module: Any) -> Kind:
        kind, name = getattr(module, "KIND", None), module.__name__.rpartition(".")[2]
        if isinstance(kind, Kind) and issubclass(kind.config, self.base) and kind.name == name and kind.load:
            return kind
        raise TypeError(
            f"{module.__name__}: expected KIND = Kind(...) with fit and load, its configuration a "
            f'{self.base.__name__} with kind: Literal["{name}"] = "{name}"'
        )


def _imported(named: str) -> Callable[..., Any]:
    module, _, function = named.partition(":")
    return getattr(importlib.import_module(module), function)


def _unknown(name: Any, kinds: Mapping[str, Kind]) -> str:
    if not name:
        return f"kind is missing: one of {', '.join(kinds)}"
    renamed = [kind.name for kind in kinds.values() if kind.old_name == name]
    alike = renamed or difflib.get_close_matches(str(name), kinds, n=1)
    hint = f" (did you mean {alike[0]!r}?)" if alike else ""
    return f"kind = {name!r} is not one of {', '.join(kinds)}{hint}"
