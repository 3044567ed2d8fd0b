"""The commands upload, submit and runs, against a server on this machine that checks every request."""

import json
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from commands import command, server_command
from pipelines_server import PipelinesServer


def test_upload_makes_the_pipeline_and_one_version(server: PipelinesServer):
    server_command("upload", server.host)
    assert [each["display_name"] for each in server.kept["pipelines"]] == ["product-categorization"]
    assert len(server.kept["versions"]) == 1


def test_an_unchanged_pipeline_is_not_uploaded_twice(server: PipelinesServer):
    first, second = server_command("upload", server.host), server_command("upload", server.host)
    assert first.output.splitlines()[-1] == second.output.splitlines()[-1]
    assert len(server.kept["versions"]) == 1


def test_a_changed_pipeline_is_a_new_version_of_the_same_pipeline(server: PipelinesServer):
    for tag in ("1", "2", "3", "1"):
        server_command("upload", server.host, "--tag", tag)
    assert len(server.kept["pipelines"]) == 1
    assert len(server.kept["versions"]) == 3


def test_a_version_never_changes_its_content(server: PipelinesServer):
    server_command("upload", server.host, "--version", "v1", "--tag", "1")
    server_command("upload", server.host, "--version", "v1", "--tag", "1")
    failed = server_command("upload", server.host, "--version", "v1", "--tag", "2", status=2)
    assert "v1: exists with another content" in failed.output
    assert len(server.kept["versions"]) == 1


def test_a_pipeline_is_found_on_every_page(server: PipelinesServer):
    for number in range(5):
        server_command("upload", server.host, "--name", f"other {number}")
    server_command("upload", server.host, "--name", "other 4")
    assert len(server.kept["pipelines"]) == 5


def test_submit_starts_one_run_of_the_uploaded_version(server: PipelinesServer):
    options = ["--preset", "paper", "--param", "seed=3", "--service-account", "trainer"]
    server_command("submit", server.host, *options)
    (run,) = server.kept["runs"]
    expected = {"catalog_products": "s3://bucket/products.tsv", "seed": 3}
    assert run["runtime_config"]["parameters"] == expected
    version = run["pipeline_version_reference"]["pipeline_version_id"]
    assert version == server.kept["versions"][0]["pipeline_version_id"]
    assert run["service_account"] == "trainer"


def test_a_run_is_called_by_date_preset_and_snapshot(server: PipelinesServer):
    done = server_command("submit", server.host, "--preset", "paper", "--param", "catalog_snapshot=week 2")
    (run,) = server.kept["runs"]
    date, time, rest = run["display_name"].split(" ", 2)
    started = datetime.fromisoformat(f"{date}T{time}+00:00")
    assert abs((datetime.now(UTC) - started).total_seconds()) < 120
    assert rest == "paper week 2"
    assert run["display_name"] in done.output


def test_a_run_is_called_as_it_is_asked_to_be(server: PipelinesServer):
    server_command("submit", server.host, "--run-name", "higher resolution")
    assert server.kept["runs"][0]["display_name"] == "higher resolution"


@pytest.mark.parametrize("name", ["submit", "schedule"])
@pytest.mark.parametrize("param", [[], ["--param", "catalog_products="]])
def test_without_products_nothing_is_sent(server: PipelinesServer, name: str, param: list[str]):
    cron = ["--cron", "0 0 3 * * 1"] if name == "schedule" else []
    failed = command(name, "--host", server.host, *cron, *param, status=2)
    assert "--param catalog_products=... is missing" in failed.output
    assert server.requests == []


@pytest.mark.parametrize(
    ("name", "version"), [("upload", "2.15.3"), ("submit", "v2.5.0"), ("schedule", "1.8.22")]
)
def test_a_server_that_is_too_old_is_refused(name: str, version: str):
    server = PipelinesServer(version=version)
    cron = ["--cron", "0 0 3 * * 1"] if name == "schedule" else []
    failed = server_command(name, server.host, *cron, status=2)
    server.shutdown()
    assert f"Kubeflow Pipelines {version} is too old: the pipeline needs 2.16 or later" in failed.output
    assert not any(server.kept.values())


@pytest.mark.parametrize(
    ("version", "warning"),
    [
        ("2.16.0", None),
        ("v2.17.1", None),
        ("3.0.0-rc.1", None),
        ("unknown", "calls its version 'unknown'"),
        ("", "does not say which version it is"),
        (None, "does not say which version it is"),
    ],
)
def test_a_server_of_an_unknown_version_is_warned_of(version: str | None, warning: str | None):
    server = PipelinesServer(version=version)
    done = server_command("upload", server.host)
    server.shutdown()
    assert len(server.kept["versions"]) == 1
    assert ("warning" in done.output) == (warning is not None)
    assert (warning or "") in done.output


def test_runs_are_listed_newest_first_with_names(server: PipelinesServer):
    server_command("submit", server.host, "--run-name", "one")
    server_command("submit", server.host, "--run-name", "two")
    done, going = server.kept["runs"]
    done |= {"state": "SUCCEEDED", "finished_at": "2026-01-05T04:30:00Z"}
    going |= {"state": "RUNNING", "finished_at": "1970-01-01T00:00:00Z"}
    listed = server_command("runs", server.host).output.splitlines()
    assert listed[1].split() == ["2026-01-05", "03:00", "RUNNING", going["run_id"], "two"]
    assert listed[2].split() == ["2026-01-05", "03:00", "90", "SUCCEEDED", done["run_id"], "one"]


def test_runs_of_an_unknown_name_are_explained(server: PipelinesServer):
    failed = server_command("runs", server.host, "--name", "nothing", status=2)
    assert "nothing was run under this name" in failed.output


@pytest.mark.parametrize("name", ["upload", "submit", "runs"])
def test_without_a_server_it_says_so(name: str):
    failed = server_command(name, "http://127.0.0.1:9", status=2)
    assert "no Kubeflow Pipelines server answers" in failed.output


def test_a_login_page_is_distinguished_from_a_server(
    server: PipelinesServer, monkeypatch: pytest.MonkeyPatch
):
    def send_page(handler: BaseHTTPRequestHandler, status: int, answer: object) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(b"<html>Log in</html>")

    monkeypatch.setattr("pipelines_server._Handler._send", send_page)
    failed = server_command("upload", server.host, status=2)
    assert "something else than a Kubeflow Pipelines server answers, perhaps a login page" in failed.output


def test_a_token_is_sent_and_shown_nowhere(tmp_path: Path):
    server = PipelinesServer(token="canary-7f3a")
    (tmp_path / "token").write_text("canary-7f3a\n")
    refused = server_command("upload", server.host, status=2)
    assert "401" in refused.output
    assert "--token-file" in refused.output
    done = server_command("upload", server.host, "--token-file", tmp_path / "token")
    server.shutdown()
    assert "canary" not in done.output + json.dumps(server.kept)
    assert len(server.kept["versions"]) == 1


def test_a_cookie_is_sent(server: PipelinesServer, tmp_path: Path):
    (tmp_path / "cookie").write_text("authservice_session=abc\n")
    server_command("upload", server.host, "--cookie-file", tmp_path / "cookie")
    assert {headers.get("Cookie") for headers in server.headers} == {"authservice_session=abc"}


def test_a_wrong_parameter_is_refused_before_anything_is_sent(server: PipelinesServer):
    failed = server_command("submit", server.host, "--param", "sed=3", status=2)
    assert "Did you mean seed?" in failed.output
    assert server.requests == []


def test_a_refusal_of_the_server_is_reported_without_its_json(
    server: PipelinesServer, monkeypatch: pytest.MonkeyPatch
):
    def lose(*_: Any) -> None:
        server.api.find("pipelines", "pipelines-9")

    monkeypatch.setattr(server.api, "_upload", lose)
    failed = server_command("upload", server.host, status=2)
    assert "the server does not know this (404): pipelines pipelines-9 not found" in failed.output
    assert "{" not in failed.output
