"""The command schedule: an unchanged one is left alone, a changed one takes the old one's place."""

from typing import Any

import pytest
from click.testing import Result
from commands import server_command
from pipelines_api import Refused
from pipelines_server import PipelinesServer

CRON = "0 0 3 * * 1"


def schedule(server: PipelinesServer, *options: object, cron: str = CRON, status: int = 0) -> Result:
    return server_command("schedule", server.host, "--cron", cron, *options, status=status)


def schedules(server: PipelinesServer) -> list[dict[str, Any]]:
    return server.kept["recurringruns"]


def crons(server: PipelinesServer, mode: str = "ENABLE") -> list[str]:
    return [one["trigger"]["cron_schedule"]["cron"] for one in schedules(server) if one["mode"] == mode]


def test_it_runs_one_at_a_time_without_catching_up_on_a_pinned_version(server: PipelinesServer):
    done = schedule(server)
    (made,) = schedules(server)
    assert made["trigger"] == {"cron_schedule": {"cron": CRON}}
    assert int(made["max_concurrency"]) == 1
    assert made["no_catchup"] is True
    assert made["mode"] == "ENABLE"
    assert made["pipeline_version_reference"] == {
        "pipeline_id": server.kept["pipelines"][0]["pipeline_id"],
        "pipeline_version_id": server.kept["versions"][0]["pipeline_version_id"],
    }
    assert "day of the week Mon" in done.output
    assert done.output.count("  next Mon ") == 3


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--service-account", "trainer", "--pipeline-root", "s3://bucket/runs"],
        ["--preset", "paper", "--param", 'cluster_node_selector={"b": "1", "a": "2"}', "--param", "seed=3"],
    ],
)
def test_an_unchanged_one_is_left_alone_and_nothing_is_sent_but_reads(
    server: PipelinesServer, options: list[str]
):
    schedule(server, *options)
    before = [dict(one) for one in schedules(server)]
    server.requests.clear()
    done = schedule(server, *options)
    assert {method for method, _ in server.requests} == {"GET"}
    assert schedules(server) == before
    assert f"schedule {before[0]['recurring_run_id']} is unchanged and was left alone" in done.output
    assert done.output.count("  next Mon ") == 3


def test_a_changed_one_takes_the_old_ones_place(server: PipelinesServer):
    schedule(server)
    options: list[str] = []
    for change in (
        ["--service-account", "trainer"],
        ["--pipeline-root", "s3://bucket/runs"],
        ["--param", "seed=3"],
        ["--tag", "2"],
        ["--run-name", "nightly"],
    ):
        (old,) = schedules(server)
        options += change
        output = schedule(server, *options).output
        (made,) = schedules(server)
        assert made["recurring_run_id"] != old["recurring_run_id"], change
        assert f"the earlier schedule {old['recurring_run_id']} is deleted" in output
    assert server.api.killed == []


def test_one_that_somebody_disabled_is_set_again(server: PipelinesServer):
    schedule(server)
    schedules(server)[0]["mode"] = "DISABLE"
    schedule(server)
    assert crons(server) == [CRON]
    assert crons(server, "DISABLE") == []


def test_a_change_leaves_the_running_run_alone_and_a_later_call_sweeps_up(server: PipelinesServer):
    schedule(server)
    (old,) = schedules(server)
    run = server.api.tick(old)
    output = schedule(server, cron="0 0 4 * * *").output
    assert crons(server) == ["0 0 4 * * *"]
    assert crons(server, "DISABLE") == [CRON]
    assert server.api.killed == []
    assert f"{old['recurring_run_id']} is disabled; its run {run['run_id']} goes on" in output
    # Unchanged while the run goes on: nothing is sent.
    server.requests.clear()
    schedule(server, cron="0 0 4 * * *")
    assert {method for method, _ in server.requests} == {"GET"}
    run["state"] = "SUCCEEDED"
    output = schedule(server, cron="0 0 4 * * *").output
    assert f"the earlier schedule {old['recurring_run_id']} is deleted" in output
    assert [one["mode"] for one in schedules(server)] == ["ENABLE"]
    assert server.kept["runs"] == [run]


@pytest.mark.parametrize("state", ["PENDING", "PAUSED"])
def test_an_active_run_is_found_behind_pages_of_others(server: PipelinesServer, state: str):
    schedule(server)
    (old,) = schedules(server)
    active = server.api.tick(old)
    active["state"] = state
    for _ in range(5):
        server.api.tick(old)["state"] = "FAILED"
    server_command("submit", server.host)
    schedule(server, cron="0 0 4 * * *")
    assert old in schedules(server)
    active["state"] = "CANCELED"
    schedule(server, cron="0 0 4 * * *")
    assert old not in schedules(server)


def test_a_refused_creation_leaves_the_old_one_enabled(
    server: PipelinesServer, monkeypatch: pytest.MonkeyPatch
):
    schedule(server)
    create = server.api._create

    def refuse(kind: str, body: dict[str, Any]) -> dict[str, Any]:
        if kind == "recurringruns":
            raise Refused(400, "Failed to create a recurring run: the controller is not there")
        return create(kind, body)

    monkeypatch.setattr(server.api, "_create", refuse)
    failed = schedule(server, cron="0 0 4 * * *", status=2)
    assert "the server refused the request (400): the controller is not there" in failed.output
    assert crons(server) == [CRON]


def test_those_of_one_name_are_found_on_every_page_however_they_are_called(server: PipelinesServer):
    schedule(server)
    schedule(server, "--name", "other")
    made = schedules(server)[0]
    for number in range(4):  # as somebody made them in the user interface
        copy = {**made, "recurring_run_id": f"copy-{number}", "display_name": "product-categorization"}
        schedules(server).append({**copy, "description": ""})
    schedule(server, "--run-name", "nightly")
    assert sorted(one["display_name"] for one in schedules(server)) == ["laptop-other", "nightly"]


def test_what_is_not_of_this_name_stays(server: PipelinesServer):
    schedule(server)
    made = schedules(server)[0]
    other = {**made, "recurring_run_id": "by-hand", "display_name": "trial", "description": "mine"}
    schedules(server).append(other)
    schedule(server, cron="0 0 4 * * *")
    assert other in schedules(server)


def test_two_are_never_enabled_for_longer_than_the_change_takes(server: PipelinesServer):
    for hour in (1, 2, 3):
        schedule(server, cron=f"0 0 {hour} * * *")
        assert crons(server) == [f"0 0 {hour} * * *"]
    assert server.api.most_enabled == 2


def test_its_runs_can_be_distinguished_by_preset_and_snapshot(server: PipelinesServer):
    schedule(server, "--preset", "paper", "--param", "catalog_snapshot=2026-01")
    (made,) = schedules(server)
    assert made["display_name"] == "paper-2026-01-product-categorization"
    assert server.api.tick(made)["display_name"].startswith("paper-2026-01-product-cat")


def caching(server: PipelinesServer) -> set[bool]:
    parts = server.kept["versions"][-1]["pipeline_spec"]["pipeline_spec"]["components"].values()
    tasks = [part["dag"]["tasks"] for part in parts if "dag" in part]
    found = {name: task for each in tasks for name, task in each.items()}
    return {bool(found[name]["cachingOptions"]) for name in ("preprocess", "denoise")}


def test_a_scheduled_run_takes_nothing_from_the_cache(server: PipelinesServer):
    schedule(server)
    assert caching(server) == {False}


def test_with_the_cache_kept_a_snapshot_says_when_the_catalog_is_read_again(server: PipelinesServer):
    schedule(server, "--cache", "--param", "catalog_snapshot=2026-01-05")
    assert caching(server) == {True}
    parameters = schedules(server)[0]["runtime_config"]["parameters"]
    assert parameters["catalog_snapshot"] == "2026-01-05"


def test_a_wrong_cron_expression_is_refused_before_anything_is_sent(server: PipelinesServer):
    assert "write '0 0 3 * * *'" in schedule(server, cron="0 3 * * *", status=2).output
    assert server.requests == []
