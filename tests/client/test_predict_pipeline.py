"""The second pipeline: compiled, uploaded, submitted and scheduled by the commands of the first."""

import csv
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import command, server_command
from kfp import components as kfp_components
from kfp import local
from pipelines_server import PipelinesServer
from small_package import KEPT, new_products

from components.core.project import NAME
from components.lifecycle.champion import promote, read_champion
from components.lifecycle.store import ModelStore

OF_PREDICT = ["--param", "models_store=s3://bucket/shop", "--param", "predict_output=s3://bucket/out"]


def test_it_is_uploaded_submitted_and_scheduled_under_a_name_of_its_own(server: PipelinesServer):
    server_command("upload", server.host)
    for _ in range(2):
        server_command("upload", server.host, "--pipeline", "predict")
    names = [each["display_name"] for each in server.kept["pipelines"]]
    assert names == [NAME, f"{NAME}-predict"]
    assert len(server.kept["versions"]) == 2
    server_command("submit", server.host, "--pipeline", "predict", *OF_PREDICT)
    since = ["--param", "catalog_since=last-run", "--param", "catalog_date_column=added"]
    asked = ["--pipeline", "predict", *OF_PREDICT, *since]
    said = server_command("schedule", server.host, "--cron", "0 0 3 * * 1", *asked).output
    assert f"predict-laptop-{NAME}-predict" in said
    [run], [schedule] = server.kept["runs"], server.kept["recurringruns"]
    version = run["pipeline_version_reference"]["pipeline_version_id"]
    assert version == server.kept["versions"][1]["pipeline_version_id"]
    given = schedule["runtime_config"]["parameters"]
    assert given["catalog_since"] == "last-run"
    assert given["predict_output"] == "s3://bucket/out"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "--param models_store=... is missing"),
        (OF_PREDICT[:2], "--param predict_output=... is missing"),
        ([*OF_PREDICT, "--denoise-on", "text"], "the pipeline predict denoises nothing"),
        ([*OF_PREDICT, "--param", "catalog_since=soon"], "catalog_since: 'soon': expected a date"),
        ([*OF_PREDICT, "--param", "catalog_since=2026-01-31"], "name the column of the dates too"),
        ([*OF_PREDICT, "--param", "catalog_date_column=added"], "is read only with catalog_since"),
        ([*OF_PREDICT, "--param", "predict_shard_size=0"], "expected one product or more to a shard"),
        ([*OF_PREDICT, "--param", "predict_output=https://shop/out"], "predict_output: https://"),
        ([*OF_PREDICT, "--param", "predict_output=ftp://"], "expected a path or one of"),
        ([*OF_PREDICT, "--param", "seed=3"], "expected KEY=JSON with KEY one of alert_address"),
    ],
)
def test_what_a_run_would_stop_at_is_refused_before_anything_is_sent(
    server: PipelinesServer, options: list[str], message: str
):
    failed = server_command("submit", server.host, "--pipeline", "predict", *options, status=2)
    assert message in failed.output
    assert server.requests == []


def pipeline(folder: Path) -> dict[str, Any]:
    command("compile", "--pipeline", "predict", "--retries", 0, "--output", folder / "predict.yaml")
    return next(yaml.safe_load_all((folder / "predict.yaml").read_text(encoding="utf-8")))


@pytest.mark.slow
def test_the_compiled_file_runs_on_this_machine(tmp_path: Path):
    pipeline(tmp_path)
    store, table = ModelStore(str(tmp_path / "store")), new_products().table
    promote(store, store.version(store.add(KEPT)), instead_of=read_champion(store), why="the first")
    ids = list(table["product_id"])
    lines = [f"{product}\t{title}" for product, title in zip(ids, table["title"], strict=True)]
    (tmp_path / "shop.tsv").write_text("\n".join(["sku\tname", *lines]) + "\n", encoding="utf-8")
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path / "artifacts"))
    predict = kfp_components.load_component_from_file(str(tmp_path / "predict.yaml"))
    predict(
        catalog_products=str(tmp_path / "shop.tsv"),
        catalog_columns="product_id=sku,title=name",
        models_store=str(tmp_path / "store"),
        predict_output=str(tmp_path / "output"),
        predict_shard_size=7,
    )
    [detail] = (tmp_path / "output").glob("*/predictions_detail.tsv")
    with detail.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [row["product_id"] for row in rows] == ids
    [(_, _, version)] = store.predictions()
    assert version == read_champion(store).version
