"""What the last run predicted, class by class: the newest of the predictions that a store keeps."""

import io
import logging
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from components.data.prediction_files import read_cells
from components.lifecycle.store import ModelStore

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LastRun:
    """The last run's predictions; there may have been none.

    Attributes:
        day: when it was, ISO 8601; "" for none.
        version: which predicted.
        classes: code -> products that it was predicted of.
    """

    day: str = ""
    version: str = ""
    classes: dict[str, int] = field(default_factory=dict)

    @property
    def products(self) -> int:
        """How many were predicted."""
        return sum(self.classes.values())


def read_last_run(models: ModelStore, *, before: datetime | None = None) -> LastRun:
    """Reads the newest kept predictions, of those that were made `before` a moment, where one is given.

    A file that cannot be read counts as none, with a warning: a report alone compares with it.
    """
    kept = [each for each in models.predictions() if before is None or each[1] < before]
    if not kept:
        return LastRun()
    name, moment, version = kept[-1]
    content = models.objects.read(f"{models.root}/predictions/{name}") or b""
    try:
        classes = Counter(read_cells(io.BytesIO(content))["code"])
    except (KeyError, ValueError) as error:
        log.warning("%s/predictions/%s: cannot be compared with: %s", models, name, error)
        return LastRun()
    return LastRun(f"{moment:%Y-%m-%d}", version, dict(sorted(classes.items())))
