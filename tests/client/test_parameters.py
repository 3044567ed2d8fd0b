"""What a user types after --param, and what it answers."""

import json

import pytest

from components.client.parameters import RENAMED, parse_parameters
from components.client.presets import PRESETS, pretrained_configs
from components.core.errors import InputError
from components.core.project import STAGE_NAMES
from pipeline import build_pipeline

INPUTS = build_pipeline(PRESETS["laptop"]).component_spec.inputs  # type: ignore[attr-defined]
TYPES = {name: one.type for name, one in INPUTS.items()}


def test_values_are_json_and_strings_are_taken_as_they_are():
    items = ["catalog_snapshot=2026-01-01", "denoise_folds=[0, 1]", 'ensemble_config={"vote": "soft"}']
    expected = {
        "catalog_snapshot": "2026-01-01",
        "denoise_folds": [0, 1],
        "ensemble_config": {"vote": "soft"},
    }
    assert parse_parameters(items, TYPES) == expected


def test_a_text_may_be_given_as_a_json_string():
    items = ['cluster_accelerator_count="1"', 'catalog_products="s3://shop/a b.tsv"', 'catalog_snapshot="']
    assert list(parse_parameters(items, TYPES).values()) == ["1", "s3://shop/a b.tsv", '"']


@pytest.mark.parametrize(
    "value",
    ["{{$.inputs}}", "a{{$b", "s3://user:canary@shop/a.tsv", "https://canary@host/a", "\udcff.tsv", "a\0b"],
)
@pytest.mark.parametrize("key", ["catalog_products", "text_configs", "preprocess_config"])
def test_a_text_that_cannot_pass_through_a_run_is_refused(key: str, value: str):
    wrapped = {"text_configs": [{"name": "a", "weights": value}], "preprocess_config": {"columns": value}}
    item = json.dumps(wrapped[key]) if key in wrapped else value
    with pytest.raises(InputError) as refused:
        parse_parameters([f"{key}={item}"], TYPES)
    assert key in str(refused.value)
    assert "canary" not in str(refused.value)
    assert "\n" not in str(refused.value)


NUMBERS = [
    *("seed", "fusion_folds", "cluster_accelerator_count", "denoise_folds"),
    *("denoise_config.share", "preprocess_config.max_quarantined", "preprocess_config.validation_share"),
    *("text_configs.learning_rate", "text_configs.epochs", "image_configs.learning_rate"),
]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "null", "-1", '"1"'])
@pytest.mark.parametrize("place", NUMBERS)
def test_no_number_may_be_what_is_none(place: str, number: str):
    key, _, inner = place.partition(".")
    many = key.endswith("_configs")
    value = f'{{"{inner}": {number}}}' if inner and not many else number
    value = f'[{{"name": "a", "{inner}": {number}}}]' if many else value
    if (place, number) == ("cluster_accelerator_count", '"1"'):
        return
    with pytest.raises(InputError, match=key):
        parse_parameters([f"{key}={f'[{value}]' if key == 'denoise_folds' else value}"], TYPES)


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
@pytest.mark.parametrize("key", ["text_configs", "image_configs", "fusion_configs", "ensemble_config"])
def test_what_a_preset_holds_is_accepted(preset: dict, key: str):
    assert parse_parameters([f"{key}={json.dumps(preset[key])}"], TYPES) == {key: preset[key]}


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("snapshots=1", r"--param 'snapshots=1': expected KEY=JSON with KEY one of alert_address"),
        ("seed", "--param 'seed': expected seed=JSON: a whole number"),
        ("catalog_labels=null", "catalog_labels: None: expected a text"),
        ('catalog_labels="\\ud800"', "catalog_labels: not JSON"),
        ("cluster_accelerator_count=²", "expected a whole number of accelerators"),
        ("cluster_accelerator_type=a gpu", "expected a resource's name such as nvidia.com/gpu"),
        ("denoise_folds=[null]", "expected a JSON list of whole numbers"),
        ("denoise_folds=[0.4, 1.6]", "expected a JSON list of whole numbers"),
        ("denoise_folds=[1, 2]", r"denoise_folds: folds = \[1, 2\]: expected the numbers from 0 on in order"),
        (
            'preprocess_config={"max_quarantined": 50}',
            "max_quarantined = 50 should be less",
        ),
        ('preprocess_config={"folds": 3}', "unknown key 'folds' \\(a parameter of the whole pipeline"),
        ('preprocess_config={"seed": 3}', "unknown key 'seed' \\(a parameter of the whole pipeline"),
        ('preprocess_config={"image_name": "{foo}.jpg"}', "expected a name with {image_id} and {product_id}"),
        ("seed=1.5", "--param seed: 1.5: expected a whole number"),
        ("seed=-1", "seed: -1: expected a whole number from 0 to 4294967295"),
        ("fusion_folds=1", "fusion_folds: 1 folds: what is learned on validation needs from 2"),
        ('fusion_folds="x"', "fusion_folds: 'x': expected a whole number"),
        ("cluster_tolerations={}", "tolerations: {}: expected a JSON list"),
        ("cluster_tolerations=[1]", r"tolerations: \[1\]: expected a JSON list of objects"),
        ('denoise_folds=["0", "1"]', "expected a JSON list of whole numbers"),
        ("denoise_folds=[0.5]", "expected a JSON list of whole numbers"),
        ('fusion_configs=[{"name": "x", "kind": ["linear"]}]', r"kind = \['linear'\] is not one of att"),
        ('text_configs=[{"name": "../x", "kind": "linear"}]', 'name = "../x" names files too'),
        ('text_configs=[{"name": "", "kind": "linear"}]', 'name = "" names files too'),
        ("denoise_folds=[0,", "--param denoise_folds: not JSON"),
        ('text_configs={"name": "a"}', "text_configs: {'name': 'a'}: expected a JSON list of objects"),
        ("image_configs=[]", "one or more objects"),
        ('text_configs=[{"name": "a", "epoch": 3}]', "unknown key 'epoch'"),
        (
            'text_configs=[{"name": "a", "kind": "tree"}]',
            "kind = 'tree' is not one of frozen, linear, transformer",
        ),
        ('image_configs=[{"name": "a", "crop": [300, 300]}]', "crop must lie within resize"),
        ('image_configs=[{"name": "a"}, {"name": "a"}]', "image configurations: a is named twice"),
        (
            'fusion_configs=[{"name": "a", "kind": "vote"}]',
            "fusion configuration a: kind = 'vote' is not one of attention",
        ),
        ("fusion_configs=[1]", r"fusion_configs: \[1\]: expected a JSON list of objects"),
        ('ensemble_config={"vote": "loud"}', "vote = \"loud\" should be 'majority', 'soft' or 'weighted'"),
        ("denoise_config=[]", r"denoise_config: \[\]: expected a JSON object"),
        ('denoise_config={"share": 2}', "share = 2 should be less than or equal to 1"),
    ],
)
def test_a_wrong_value_is_refused_before_anything_starts(item: str, message: str):
    with pytest.raises(InputError, match=message):
        parse_parameters([item], TYPES)


@pytest.mark.parametrize("old", RENAMED)
def test_an_old_name_is_refused_with_the_new_one(old: str):
    assert old not in TYPES
    expected = f"called {RENAMED[old]} now" if RENAMED[old] else "no parameter any more"
    with pytest.raises(InputError, match=f"--param '{old}=1': {old} is {expected}"):
        parse_parameters([f"{old}=1"], TYPES)


def test_every_new_name_is_a_parameter():
    assert {new for new in RENAMED.values() if new} <= set(TYPES)


def test_every_name_says_what_it_is_about():
    groups = {name.partition("_")[0] for name in TYPES}
    assert groups == {"alert", "catalog", "cluster", "drift", "models", "seed", *STAGE_NAMES} - {"evaluate"}


def test_pretrained_weights_stand_beside_the_laptops_small_models():
    weights = {"image_weights": "/weights/image", "text_weights": "org/encoder"}
    found = pretrained_configs(PRESETS["laptop"], **weights)
    assert parse_parameters([f"{key}={json.dumps(value)}" for key, value in found.items()], TYPES) == found
    best, colors = found["image_configs"]
    assert [each["name"] for each in best["candidates"]] == ["frozen-image", "small-resnet"]
    assert best["candidates"][0]["weights"] == found["image_fold_config"]["weights"] == "/weights/image"
    assert (best["cleaned"], colors) == (True, PRESETS["laptop"]["image_configs"][1])
    assert [each["name"] for each in found["text_configs"]] == ["tfidf", "tfidf-cleaned", "frozen-text"]
    assert found["text_configs"][2]["weights"] == "org/encoder"


def test_image_weights_may_be_a_name_of_timms():
    for name in ("efficientnet_b0.ra_in1k", "hf-hub:org/model"):
        assert (
            pretrained_configs(PRESETS["laptop"], image_weights=name)["image_fold_config"]["backbone"] == name
        )
    assert pretrained_configs(PRESETS["laptop"]) == {}


def test_the_papers_preset_takes_no_other_weights():
    with pytest.raises(InputError, match="--text-weights go with the preset laptop"):
        pretrained_configs(PRESETS["paper"], text_weights="org/encoder")
