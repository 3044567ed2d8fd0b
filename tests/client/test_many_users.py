"""The commands on a server for many users: every look-up names the namespace, and refusals are for people."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import Result
from commands import server_command
from pipelines_server import USER, PipelinesServer

MANIFESTS = Path(__file__).parents[2] / "manifests"
COMMANDS = {"upload": [], "submit": [], "schedule": ["--cron", "0 0 3 * * 1"]}


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[PipelinesServer]:
    """A server for many users that knows a token."""
    (tmp_path / "token").write_text("secret")
    running = PipelinesServer(token="secret", many_users=True)
    yield running
    running.shutdown()


def ask(server: PipelinesServer, folder: Path, name: str, *options: str, status: int = 0) -> Result:
    token = ["--token-file", folder / "token", "--namespace", "team-a"]
    return server_command(name, server.host, *token, *COMMANDS.get(name, []), *options, status=status)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_second_call_finds_what_the_first_made(shared: PipelinesServer, tmp_path: Path, name: str):
    for _ in range(2):
        ask(shared, tmp_path, name)
    assert [one["namespace"] for one in shared.kept["pipelines"]] == ["team-a"]
    assert len(shared.kept["versions"]) == 1
    assert len(shared.kept["experiments"]) == (0 if name == "upload" else 1)
    assert len(shared.kept["runs"]) == (2 if name == "submit" else 0)
    assert len(shared.kept["recurringruns"]) == (1 if name == "schedule" else 0)
    assert "product-categorization" not in ask(shared, tmp_path, "upload").output


def test_two_teams_do_not_meet(shared: PipelinesServer, tmp_path: Path):
    for team in ("team-a", "team-b"):
        for name in COMMANDS:
            ask(shared, tmp_path, name, "--namespace", team)
    assert [one["namespace"] for one in shared.kept["pipelines"]] == ["team-a", "team-b"]
    assert [one["namespace"] for one in shared.kept["recurringruns"]] == ["team-a", "team-b"]


def test_runs_are_those_of_the_namespace(shared: PipelinesServer, tmp_path: Path):
    ask(shared, tmp_path, "submit", "--run-name", "ours")
    ask(shared, tmp_path, "submit", "--namespace", "team-b", "--run-name", "theirs")
    listed = ask(shared, tmp_path, "runs").output
    assert "ours" in listed
    assert "theirs" not in listed


@pytest.mark.parametrize("name", [*COMMANDS, "runs"])
def test_a_missing_namespace_is_named(shared: PipelinesServer, tmp_path: Path, name: str):
    failed = ask(shared, tmp_path, name, "--namespace", "", status=2)
    assert "--namespace is missing" in failed.output
    assert not any(shared.kept.values())


@pytest.mark.parametrize("name", [*COMMANDS, "runs"])
def test_a_missing_token_is_named(shared: PipelinesServer, name: str):
    options = ["--namespace", "team-a", *COMMANDS.get(name, [])]
    failed = server_command(name, shared.host, *options, status=2)
    assert "the server does not know who asks (401): pass --token-file" in failed.output
    assert "{" not in failed.output


@pytest.mark.parametrize(
    ("resource", "verb", "name"),
    [
        ("pipelines", "list", "upload"),
        ("pipelines", "create", "upload"),
        ("experiments", "create", "submit"),
        ("runs", "create", "submit"),
        ("jobs", "create", "schedule"),
        ("runs", "list", "runs"),
    ],
)
def test_a_missing_right_is_named(tmp_path: Path, resource: str, verb: str, name: str):
    (tmp_path / "token").write_text("secret")
    every = {
        ("team-a", one, right)
        for one in ("pipelines", "experiments", "runs", "jobs")
        for right in ("get", "list", "create")
    }
    server = PipelinesServer(token="secret", many_users=True, rights=every)
    if name == "runs":
        ask(server, tmp_path, "submit")
    server.api.rights = every - {("team-a", resource, verb)}
    failed = ask(server, tmp_path, name, status=2)
    server.shutdown()
    assert f"'{USER}' may not {verb} {resource}" in failed.output
    assert "in the namespace 'team-a'" in failed.output
    assert "ResourceAttributes" not in failed.output


def test_the_role_of_the_manifests_is_enough_to_keep_a_schedule(tmp_path: Path):
    (tmp_path / "token").write_text("secret")
    documents = yaml.safe_load_all((MANIFESTS / "base" / "service-account.yaml").read_text(encoding="utf-8"))
    role = next(
        one for one in documents if one["kind"] == "Role" and one["metadata"]["name"].endswith("-schedule")
    )
    rights = {
        ("team-a", resource, verb)
        for rule in role["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    server = PipelinesServer(token="secret", many_users=True, rights=rights)
    for name in ("upload", "schedule", "runs"):
        ask(server, tmp_path, name)
    server.api.tick(server.kept["recurringruns"][0])
    ask(server, tmp_path, "schedule", "--param", "seed=3")
    server.kept["runs"][-1]["state"] = "SUCCEEDED"
    ask(server, tmp_path, "schedule", "--param", "seed=3")
    server.shutdown()
    assert len(server.kept["recurringruns"]) == 1
