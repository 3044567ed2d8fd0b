"""The commands that talk to a cluster, against a server on this machine that checks every request."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from pipelines_server import PipelinesServer

from components.client.cluster.cron import parse_cron
from components.core.errors import InputError
from pipeline import main

CRON = "0 0 3 * * 1"


@pytest.fixture
def server() -> Iterator[PipelinesServer]:
    running = PipelinesServer()
    yield running
    running.shutdown()


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("kfp.Client._LOCAL_KFP_CONTEXT", str(tmp_path / "context.json"))


def command(name: str, host: str, *options: object, status: int = 0) -> Result:
    done = CliRunner().invoke(main, [name, "--host", host, *map(str, options)])
    assert done.exit_code == status, done.output + repr(done.exception)
    return done


def test_upload_makes_the_pipeline_and_one_version(server: PipelinesServer):
    command("upload", server.host)
    assert [each["display_name"] for each in server.pipelines] == ["product-categorization"]
    assert len(server.versions) == 1


def test_an_unchanged_pipeline_is_not_uploaded_twice(server: PipelinesServer):
    first, second = command("upload", server.host), command("upload", server.host)
    assert first.output.splitlines()[-1] == second.output.splitlines()[-1]
    assert len(server.versions) == 1


def test_a_changed_pipeline_is_a_new_version_of_the_same_pipeline(server: PipelinesServer):
    for tag in ("1", "2", "3", "1"):
        command("upload", server.host, "--tag", tag)
    assert len(server.pipelines) == 1
    assert len(server.versions) == 3


def test_a_version_never_changes_its_content(server: PipelinesServer):
    command("upload", server.host, "--version", "v1", "--tag", "1")
    command("upload", server.host, "--version", "v1", "--tag", "1")
    failed = command("upload", server.host, "--version", "v1", "--tag", "2", status=2)
    assert "v1: exists with another content" in failed.output
    assert len(server.versions) == 1


def test_submit_starts_one_run_of_the_uploaded_version(server: PipelinesServer):
    parameters = ["--param", "catalog_products=s3://bucket/products.tsv", "--param", "seed=3"]
    command("submit", server.host, "--preset", "paper", *parameters, "--service-account", "trainer")
    (run,) = server.runs
    assert run["runtime_config"]["parameters"] == {"catalog_products": "s3://bucket/products.tsv", "seed": 3}
    assert (
        run["pipeline_version_reference"]["pipeline_version_id"] == server.versions[0]["pipeline_version_id"]
    )
    assert run["service_account"] == "trainer"


def test_schedule_runs_one_at_a_time_without_catching_up_on_a_pinned_version(server: PipelinesServer):
    done = command("schedule", server.host, "--cron", CRON)
    (made,) = server.recurring
    assert made["trigger"] == {"cron_schedule": {"cron": CRON}}
    assert int(made["max_concurrency"]) == 1
    assert made["no_catchup"] is True
    assert made["mode"] == "ENABLE"
    assert made["pipeline_version_reference"] == {
        "pipeline_id": server.pipelines[0]["pipeline_id"],
        "pipeline_version_id": server.versions[0]["pipeline_version_id"],
    }
    assert "day of the week Mon" in done.output
    assert done.output.count("  next Mon ") == 3


def test_a_schedule_is_replaced_and_never_there_twice(server: PipelinesServer):
    for number in range(5):
        command("schedule", server.host, "--cron", CRON, "--name", f"other {number}")
    for hour in (1, 2, 3):
        command("schedule", server.host, "--cron", f"0 0 {hour} * * *", "--name", "other 3")
    named = [made for made in server.recurring if made["display_name"] == "other 3"]
    assert [made["trigger"]["cron_schedule"]["cron"] for made in named] == ["0 0 3 * * *"]
    assert len(server.recurring) == server.most_schedules == 5


def test_schedules_of_one_name_are_found_on_every_page(server: PipelinesServer):
    command("schedule", server.host, "--cron", CRON)
    for number in range(4):
        server.recurring.append({**server.recurring[0], "recurring_run_id": f"by-hand-{number}"})
    command("schedule", server.host, "--cron", CRON)
    assert len(server.recurring) == 1


def caching(server: PipelinesServer) -> set[bool]:
    root = server.versions[-1]["pipeline_spec"]["root"]["dag"]["tasks"]
    return {bool(task["cachingOptions"]) for task in root.values() if "cachingOptions" in task}


def test_a_scheduled_run_takes_nothing_from_the_cache(server: PipelinesServer):
    command("schedule", server.host, "--cron", CRON)
    assert caching(server) == {False}


def test_with_the_cache_kept_a_snapshot_says_when_the_catalog_is_read_again(server: PipelinesServer):
    command("schedule", server.host, "--cron", CRON, "--cache", "--param", "catalog_snapshot=2026-01-05")
    assert True in caching(server)  # evaluate never is
    assert server.recurring[0]["runtime_config"]["parameters"] == {"catalog_snapshot": "2026-01-05"}


def test_runs_are_listed_with_their_scores(server: PipelinesServer, tmp_path: Path):
    command("submit", server.host)
    command("submit", server.host)
    done, going = server.runs
    done |= {"state": "SUCCEEDED", "finished_at": "2026-01-05T04:30:00Z"}
    going |= {"state": "RUNNING", "finished_at": "1970-01-01T00:00:00Z"}
    results = tmp_path / "store" / "product-categorization" / done["run_id"] / "evaluate" / "1" / "results"
    results.mkdir(parents=True)
    scores = {"validation": {"rows": {"ensemble": {"macro_f1": 0.9144}}}}
    (results / "metrics.json").write_text(json.dumps(scores))
    listed = command("runs", server.host, "--artifacts", tmp_path / "store").output.splitlines()
    assert listed[1].split() == ["2026-01-05", "03:00", "90", "SUCCEEDED", "0.9144", done["run_id"]]
    assert listed[2].split() == ["2026-01-05", "03:00", "RUNNING", going["run_id"]]


def test_runs_of_an_unknown_name_are_explained(server: PipelinesServer):
    failed = command("runs", server.host, "--name", "nothing", status=2)
    assert "nothing was run under this name" in failed.output


@pytest.mark.parametrize("name", ["upload", "submit", "runs"])
def test_without_a_server_it_says_so(name: str):
    failed = command(name, "http://127.0.0.1:9", status=2)
    assert "no Kubeflow Pipelines server answers" in failed.output
    assert "Traceback" not in failed.output


def test_a_login_page_is_told_from_a_server(server: PipelinesServer, monkeypatch: pytest.MonkeyPatch):
    def send_page(handler: BaseHTTPRequestHandler, status: int, answer: object) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(b"<html>Log in</html>")

    monkeypatch.setattr("pipelines_server._Handler._send", send_page)
    failed = command("upload", server.host, status=2)
    assert "something else than a Kubeflow Pipelines server answers, perhaps a login page" in failed.output


def test_a_token_is_sent_and_shown_nowhere(tmp_path: Path):
    server = PipelinesServer(token="canary-7f3a")
    (tmp_path / "token").write_text("canary-7f3a\n")
    refused = command("upload", server.host, status=2)
    assert "401" in refused.output
    assert "--token-file" in refused.output
    done = command("upload", server.host, "--token-file", tmp_path / "token")
    server.shutdown()
    assert "canary" not in done.output + json.dumps(server.versions)
    assert len(server.versions) == 1


def test_a_cookie_is_sent(server: PipelinesServer, tmp_path: Path):
    (tmp_path / "cookie").write_text("authservice_session=abc\n")
    command("upload", server.host, "--cookie-file", tmp_path / "cookie")
    assert {headers.get("Cookie") for headers in server.headers} == {"authservice_session=abc"}


def test_a_refusal_of_the_server_is_explained(server: PipelinesServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(server, "_upload", lambda query, body: server._delete("nothing"))
    failed = command("upload", server.host, status=2)
    assert "the server refused the request (404)" in failed.output
    assert "Traceback" not in failed.output


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("0 3 * * *", "write '0 0 3 * * *'"),
        ("0 0 24 * * *", "hour '24' is outside 0 to 23"),
        ("0 0 3 * * someday", "day of the week 'someday' is not a number"),
        ("0 0 3 31 2 *", "no such time comes"),
        ("0 */0 3 * * *", "minute '*/0' is outside"),
    ],
)
def test_a_wrong_cron_expression_is_explained(expression: str, problem: str):
    with pytest.raises(InputError) as caught:
        parse_cron(expression)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("0 0 3 * * 1", ["2026-01-05 03:00:00", "2026-01-12 03:00:00", "2026-01-19 03:00:00"]),
        ("30 */20 23 * * *", ["2026-01-01 23:00:30", "2026-01-01 23:20:30", "2026-01-01 23:40:30"]),
        ("0 0 0 1 jan-mar ?", ["2026-02-01 00:00:00", "2026-03-01 00:00:00", "2027-01-01 00:00:00"]),
        # Either the day of the month or the day of the week, as in the cluster's own reading.
        ("0 0 0 3 * fri", ["2026-01-02 00:00:00", "2026-01-03 00:00:00", "2026-01-09 00:00:00"]),
        ("0 0 0 29 2 *", ["2028-02-29 00:00:00"]),
    ],
)
def test_next_times(expression: str, expected: list[str]):
    found = parse_cron(expression).next_times(datetime(2026, 1, 1, tzinfo=UTC))
    assert [f"{time:%Y-%m-%d %H:%M:%S}" for time in found] == expected
