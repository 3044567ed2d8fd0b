"""The alert: one message about a run that failed, was gated, drifted or promoted a model."""

import logging
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from components.core.environment import RUN_FOLDER_VARIABLE, run_id
from components.core.errors import InputError
from components.lifecycle.champion import utc_now
from components.lifecycle.config import parse_address
from components.lifecycle.objects import ABSENT, Changed, Objects
from components.lifecycle.plan import SKIP, STOP
from components.lifecycle.run_record import left, record_name
from components.lifecycle.version import as_json

log = logging.getLogger(__name__)

STAGE = "alert"
ENDED_WELL = ("COMPLETE", "SUCCEEDED")  # on a server, and on one machine
MOST_LINES, LONGEST = 8, 3000  # of drift; characters of a message


@dataclass(frozen=True)
class Run:
    """A run as its last task sees it.

    Attributes:
        state: what Kubeflow Pipelines says of all tasks before.
        name: what the run is called.
        address: where to look at it.
        monitor, promote: what these tasks left in the store.
        trouble: why nothing could be read there; "" where nothing is wrong.
    """

    state: str
    name: str
    address: str
    monitor: dict[str, Any] = field(default_factory=dict)
    promote: dict[str, Any] = field(default_factory=dict)
    trouble: str = ""

    @property
    def failed(self) -> bool:
        """Whether it did not end well: any state but the two that say so."""
        return self.state not in ENDED_WELL

    @property
    def promoted(self) -> bool:
        """Whether its model became the champion; one that was it before did not."""
        found = self.promote
        return bool(found.get("promote")) and found.get("challenger") != found.get("champion")

    @property
    def gated(self) -> bool:
        """Whether the gate refused its model."""
        return self.promote.get("promote") is False

    @property
    def drifted(self) -> list[dict[str, Any]]:
        """The aspects beyond their limits."""
        return self.monitor.get("drift", [])

    @property
    def headline(self) -> str:
        """What happened, in a few words; "" for a quiet run."""
        found = {
            f"failed ({self.state})": self.failed,
            "stopped by drift": self.monitor.get("training") == STOP,
            "a new champion": self.promoted,
            "refused by the gate": self.gated,
            "drift": self.drifted and self.monitor.get("training") != STOP,
        }
        return ", ".join(what for what, holds in found.items() if holds)


def message(run: Run) -> str:
    """What is said of a run: what happened, how much, where to look; text for Slack and what is like it."""
    lines = [f"*{_escaped(run.name)}*: {run.headline or 'nothing to report'}", *map(_escaped, _details(run))]
    text = "\n".join(lines)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _details(run: Run) -> Iterator[str]:
    yield f"Look at {run.address}"  # first: a long message is cut at its end
    if run.monitor.get("training") in (SKIP, STOP):
        yield f"Nothing was trained: {run.monitor.get('why')}"
    if run.promote:
        stands = "is the champion" if run.promote.get("promote") else "was not promoted"
        yield f"Version {run.promote.get('challenger')} {stands}: {run.promote.get('why')}"
    for each in run.drifted[:MOST_LINES]:
        yield f"Drift: {each['text']}"
    if len(run.drifted) > MOST_LINES:
        yield f"... and {len(run.drifted) - MOST_LINES} aspects more"
    if run.trouble:
        yield run.trouble


def run_alert(
    state: str,
    *,
    name: str,
    store: str,
    always: bool,
    address: str,
    post: Callable[[str], None] | None,
) -> None:
    """Posts one message where a run failed, was gated, drifted or promoted; nothing here fails a run.

    What it tells, the deciding tasks have left in the store. There it also leaves the message, before it is
    posted: so a second attempt posts none.

    Args:
        state: see `Run`; so are `name` and `address`.
        store: of the models; "" for none.
        always: whether a quiet run is reported too.
        address: of the server's pages; "" where nobody named it. One that holds a password is left out.
        post: sends a text, and raises an InputError where it cannot; None where nobody named an address.
    """
    run = _read(state, name, store, _place(address))
    if not run.headline and not always:
        log.info("nothing failed, drifted, was promoted or refused: no message")
        return
    text = message(run)
    for line in text.splitlines():
        log.info("%s", line)
    if post is None:
        log.info("no message is posted: ALERT_WEBHOOK is not set")
    elif _first(store, text):
        try:
            post(text)
            log.info("posted")
        except InputError as error:
            log.warning("the message could not be posted: %s", error)


def _place(address: str) -> str:
    try:
        address = parse_address(address)
    except InputError:  # it may hold a password; the run's first task has said what is wrong
        address = ""
    if address and run_id():
        return f"{address}/#/runs/details/{run_id()}"
    return (
        os.environ.get(RUN_FOLDER_VARIABLE) or f"run {run_id() or '(without an id)'} in the pipelines' pages"
    )


def _read(state: str, name: str, store: str, address: str) -> Run:
    if not store:
        return Run(state, name, address)
    try:
        objects = Objects(store)
        return Run(state, name, address, left(objects, "monitor"), left(objects, "promote"))
    except InputError as error:
        return Run(state, name, address, trouble=f"What its tasks decided could not be read: {error}")


def _first(store: str, text: str) -> bool:
    """Notes in the store that the run's message is posted; whether no earlier attempt did."""
    record = record_name(STAGE)
    if not store or record is None:
        return True
    # No two attempts write the same: the store takes that for one whose answer was lost.
    content = as_json({"at": utc_now(), "attempt": secrets.token_hex(8), "text": text})
    try:
        Objects(store).replace(record, content, ABSENT)
    except Changed:
        log.info("an earlier attempt has posted the run's message")
        return False
    except InputError as error:
        log.warning("%s", error)
    return True


def _escaped(text: str) -> str:
    """Text without what Slack takes for a link or a mention (docs.slack.dev, formatting message text)."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
