"""The file of decisions: written whole after each, and never over somebody else's."""

import csv
import io
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from components.core.artifacts import whole_file
from components.core.errors import InputError
from components.data.codes import clean_id, defused, revived
from components.data.decisions import Decision, read_decisions
from components.data.tables.read import read_table
from components.data.uris import is_uri
from components.lifecycle.objects import Changed, Objects

COLUMNS = ("product_id", "given_code", "decision", "code", "title", "decided")


class DecidedElsewhere(Exception):
    """Somebody else wrote the file since it was read; what they decided has been taken in."""


class DecisionsFile:
    """Decisions in a TSV that `--corrections` takes, on this machine or in a store.

    Args:
        place: a path, or a URI of s3 or gs; it need not exist.
        seed: what was decided elsewhere; of one product the file's decision counts.
        scratch: a folder of this machine.

    Raises:
        InputError: the file is no table of decisions, or the store does not answer; so do all methods.
    """

    def __init__(self, place: str, *, seed: list[Decision], scratch: Path) -> None:
        folder, _, self._name = place.rpartition("/")
        if not PurePosixPath(self._name).suffix == ".tsv":
            raise InputError(f"--decisions {place}: expected the name of a .tsv file")
        self.place, self._scratch = place, scratch / self._name
        self._objects = Objects(folder if is_uri(place) else folder or ".")
        self._notes: dict[str, tuple[str, str]] = {}
        self.made: dict[str, Decision] = {}
        self._tag = ""
        self.read()
        self.made = {**{each.product_id: each for each in seed}, **self.made}

    def read(self) -> None:
        """Takes in what the file holds."""
        content, self._tag = self._objects.tagged(self._name)
        if content is None:
            return
        with whole_file(self._scratch) as temporary:
            temporary.write_bytes(content)
        table = read_table(self._scratch)
        if table.header != list(COLUMNS):
            raise InputError(
                f"{self.place}: has the columns {table.named()}; expected {', '.join(COLUMNS)}: the page "
                "rewrites its file, so name one of its own with --decisions"
            )
        self.made = {each.product_id: each for each in read_decisions(table).made}
        for row in table.rows:
            self._notes[clean_id(row.values["product_id"])] = (
                revived(row.values["title"]),
                row.values["decided"],
            )

    def decide(self, decision: Decision, title: str) -> None:
        """Adds a decision, or replaces the one of its product.

        Raises:
            DecidedElsewhere: the decision is not written.
        """
        self._notes[decision.product_id] = title, datetime.now(UTC).isoformat(timespec="seconds")
        self._write({**self.made, decision.product_id: decision})

    def withdraw(self, product: str) -> None:
        """Takes the decision of a product back.

        Raises:
            DecidedElsewhere: nothing is written.
        """
        self._write({key: each for key, each in self.made.items() if key != product})

    def _write(self, made: dict[str, Decision]) -> None:
        file = io.StringIO(newline="")
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(COLUMNS)
        for each in made.values():
            cells = each.product_id, each.given or "", each.choice, each.code
            writer.writerow(map(defused, (*cells, *self._notes.get(each.product_id, ("", "")))))
        content = file.getvalue().encode()
        try:
            self._objects.replace(self._name, content, self._tag)
        except Changed:
            self.read()
            raise DecidedElsewhere from None
        self.made = made
        found, self._tag = self._objects.tagged(self._name)
        if found != content:  # somebody has added to it already
            self.read()
