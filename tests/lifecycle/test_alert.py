"""The alert: one message of a run that failed, was gated, drifted or promoted, and none of a quiet one."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from webhook import Webhook

from components.core.environment import RUN_FOLDER_VARIABLE, RUN_ID_VARIABLE
from components.core.errors import InputError
from components.lifecycle import webhook as webhook_module
from components.lifecycle.alert import LONGEST, run_alert
from components.lifecycle.objects import Objects
from components.lifecycle.run_record import leave
from components.lifecycle.webhook import VARIABLE
from components.lifecycle.webhook import webhook as poster

DRIFT = {"text": "new products, languages: 40.0 % (limit 10.0 %): German: 1.0 % to 41.0 %"}
QUIET = {"training": "skip", "why": "unchanged since version 12ab", "drift": []}
REFUSED = {"promote": False, "why": "Its macro-F1 is lower.", "challenger": "12ab", "champion": "34cd"}
PROMOTED = {**REFUSED, "promote": True, "why": "Its macro-F1 is higher."}


@pytest.fixture
def slack(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    server = Webhook()
    monkeypatch.setenv(VARIABLE, server.address)
    monkeypatch.setenv(RUN_ID_VARIABLE, "run-1")
    monkeypatch.delenv(RUN_FOLDER_VARIABLE, raising=False)
    monkeypatch.setattr(webhook_module, "WAITS", (0.01,))
    yield server
    server.close()


@pytest.fixture
def store(tmp_path: Path) -> str:
    return str(tmp_path / "store")


def alert(
    state: str, store: str, *, always: bool = False, address: str = "https://kf.example/", **left: Any
) -> None:
    for stage, document in left.items():
        leave(Objects(store), stage, document)
    run_alert(state, name="weekly <1>", store=store, always=always, address=address, post=poster())


def test_a_failed_run_is_reported_with_its_state_name_and_address(slack: Webhook, store: str):
    alert("FAILED", store)
    assert slack.posted == [
        (
            "application/json",
            {"text": "*weekly &lt;1&gt;*: failed (FAILED)\nLook at https://kf.example/#/runs/details/run-1"},
        )
    ]


def test_a_password_in_the_address_is_not_posted_and_a_long_message_keeps_its_link(
    slack: Webhook, store: str
):
    alert("FAILED", "", address="https://user:secret@kf.example/")
    alert("FAILED", store, promote={**REFUSED, "why": "Lower. " * LONGEST})
    without, long = slack.texts
    assert without.endswith("\nLook at run run-1 in the pipelines' pages")
    assert len(long) == LONGEST
    assert "\nLook at https://kf.example/#/runs/details/run-1\n" in long


@pytest.mark.parametrize("state", ["RUNNING", "CANCELED", "", "UNKNOWN"])
def test_every_state_but_the_two_that_end_well_is_a_failure(slack: Webhook, store: str, state: str):
    alert(state, store, monitor=QUIET)
    assert f"failed ({state})" in slack.texts[0]


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        (
            {"promote": REFUSED},
            ["refused by the gate", "Version 12ab was not promoted: Its macro-F1 is lower."],
        ),
        ({"promote": PROMOTED}, ["a new champion", "Version 12ab is the champion: Its macro-F1 is higher."]),
        ({"monitor": {**QUIET, "drift": [DRIFT]}}, [": drift\n", "Drift: new products, languages: 40.0 %"]),
        (
            {"monitor": {"training": "train", "drift": [DRIFT]}, "promote": PROMOTED},
            ["a new champion, drift", "Version 12ab is the champion", "Drift: "],
        ),
    ],
    ids=["gated", "promoted", "drifted", "both"],
)
def test_a_webhook_receives_exactly_one_message(
    slack: Webhook, store: str, left: dict[str, Any], expected: list[str]
):
    alert("COMPLETE", store, **left)
    assert len(slack.texts) == 1
    assert all(each in slack.texts[0] for each in expected), slack.texts[0]
    alert("COMPLETE", store, **left)  # a second attempt of the task
    assert len(slack.texts) == 1


def test_a_run_that_drift_stopped_says_so(slack: Webhook, store: str):
    why = "the catalog has drifted"
    alert("FAILED", store, monitor={"training": "stop", "why": why, "drift": [DRIFT] * 20})
    (text,) = slack.texts
    assert "failed (FAILED), stopped by drift" in text
    assert f"Nothing was trained: {why}" in text
    assert text.count("Drift: ") == 8
    assert "... and 12 aspects more" in text
    assert len(text) <= LONGEST


@pytest.mark.parametrize("state", ["COMPLETE", "SUCCEEDED"])
def test_a_quiet_week_is_not_reported_unless_it_is_asked_for(slack: Webhook, store: str, state: str):
    confirmed = {**PROMOTED, "champion": "12ab"}
    alert(state, store, monitor=QUIET)
    alert(state, store, monitor=QUIET, promote=confirmed)
    assert slack.posted == []
    alert(state, store, always=True, monitor=QUIET)
    (text,) = slack.texts
    assert text.startswith("*weekly &lt;1&gt;*: nothing to report\n")
    assert "unchanged since version 12ab" in text


def test_without_a_store_or_where_none_answers_the_state_is_reported(
    slack: Webhook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    alert("COMPLETE", "")
    assert slack.posted == []
    alert("FAILED", "", address="")
    alert("FAILED", "ftp://nowhere/models")
    (tmp_path / "runs" / "run-1").mkdir(parents=True)
    (tmp_path / "runs" / "run-1" / "promote.json").write_text("{")
    alert("FAILED", str(tmp_path))
    monkeypatch.setenv(RUN_FOLDER_VARIABLE, "/home/me/runs/mine")
    alert("FAILED", "", address="")
    assert slack.texts[0].endswith("Look at run run-1 in the pipelines' pages")
    assert "could not be read: ftp://" in slack.texts[1]
    assert "promote.json: not a JSON object" in slack.texts[2]
    assert slack.texts[3].endswith("Look at /home/me/runs/mine")


def test_what_a_catalog_holds_mentions_nobody_and_links_nowhere(slack: Webhook, store: str):
    alert(
        "COMPLETE",
        store,
        monitor={**QUIET, "drift": [{"text": "<!channel> <https://evil.example|here> & co"}]},
    )
    assert "Drift: &lt;!channel&gt; &lt;https://evil.example|here&gt; &amp; co" in slack.texts[0]


@pytest.mark.parametrize("status", [302, 307, 404, 429, 500])
def test_a_webhook_that_refuses_fails_nothing_and_is_not_asked_again(
    slack: Webhook, store: str, status: int, caplog: pytest.LogCaptureFixture
):
    slack.status = status
    caplog.set_level(logging.INFO, "components")
    alert("FAILED", store)
    assert len(slack.posted) == 1
    assert f"the webhook answers {status}" in caplog.text
    assert "SECRET" not in caplog.text


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("http://127.0.0.1:1/SECRET", "Connection refused"),
        ("file:///etc/passwd?SECRET", "starts with https://"),
        ("https://[SECRET", "ValueError"),
        ("http://a b/SECRET", "InvalidURL"),
    ],
)
def test_a_webhook_that_is_down_or_none_fails_nothing_and_is_not_shown(
    slack: Webhook,
    store: str,
    address: str,
    why: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    monkeypatch.setenv(VARIABLE, address)
    alert("FAILED", store)
    assert f"could not be posted: {VARIABLE}: " in caplog.text
    assert why in caplog.text
    assert "SECRET" not in caplog.text


def test_without_a_webhook_the_message_is_in_the_log(
    slack: Webhook, store: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.delenv(VARIABLE)
    caplog.set_level(logging.INFO, "components")
    alert("FAILED", store)
    assert "failed (FAILED)" in caplog.text
    assert "no message is posted: ALERT_WEBHOOK is not set" in caplog.text
    assert slack.posted == []


def test_posting_says_what_is_wrong(slack: Webhook):
    slack.status = 503
    post = poster()
    assert post
    with pytest.raises(InputError, match="503"):
        post("text")
