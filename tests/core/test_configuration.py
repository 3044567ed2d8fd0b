"""Configurations: which values are taken, which are refused, and in which words."""

import json
from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

import pytest
from pydantic import Field

from components.core.configuration import Config, Name, Share, parse_config, setting
from components.core.errors import InputError


class Tree(Config):
    """A configuration with a field of every type."""

    name: Name
    depth: Annotated[int, Field(ge=1)] = setting(3, "levels")
    share: Share = setting(0.5, "of the rows")
    shuffle: bool = setting(True, "the rows")
    size: tuple[int, int] = setting((8, 6), "height, width")
    score: Literal["gini", "entropy"] = setting("gini", "to split by")
    parts: dict[str, float] = setting({}, "by name")

    OLD_KEYS: ClassVar = {"voter": "use 'name'"}

    def problems(self) -> Iterator[str]:
        if self.depth > self.size[0]:
            yield "depth must not be above the height"
        if self.depth > self.size[1]:
            yield "depth must not be above the width"


def parse(**values: object) -> Tree:
    return parse_config(Tree, {"name": "a", **values}, where="tree configuration a")


def test_numbers_as_kubeflow_passes_them_become_what_the_field_is():
    tree = parse(depth=4.0, size=[16.0, 12.0], share=1, parts={"b": 1})
    assert (tree.depth, tree.size, tree.share, tree.parts) == (4, (16, 12), 1.0, {"b": 1.0})
    assert [type(value) for value in (tree.depth, *tree.size, tree.share)] == [int, int, int, float]


def test_a_mapping_has_one_order_whatever_order_it_came_in():
    assert (
        list(parse(parts={"b": 1, "a": 2}).parts) == list(parse(parts={"a": 2, "b": 1}).parts) == ["a", "b"]
    )


def test_a_configuration_survives_json():
    tree = parse(depth=4, parts={"b": 0.5})
    assert parse_config(Tree, json.loads(json.dumps(tree.model_dump())), where="again") == tree


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"depth": 2.5}, "depth = 2.5 should be a valid integer"),
        ({"depth": "4"}, 'depth = "4" should be a valid integer'),
        ({"depth": True}, "depth = true should be a valid integer"),
        ({"share": True}, "share = true should be a valid number"),
        ({"shuffle": 1}, "shuffle = 1 should be a valid boolean"),
        ({"size": [8]}, "size[1] is missing"),
        ({"size": [8, 6, 4]}, "size = [8, 6, 4] should have at most 2 items"),
        ({"size": [8, 6.5]}, "size[1] = 6.5 should be a valid integer"),
        ({"parts": {"b": "x"}}, 'parts[b] = "x" should be a valid number'),
        ({"score": "loss"}, "score = \"loss\" should be 'gini' or 'entropy'"),
        ({"depth": 0}, "depth = 0 should be greater than or equal to 1"),
        ({"share": 1.5}, "share = 1.5 should be less than or equal to 1"),
        ({"name": "../x"}, 'name = "../x" names files too: expected letters'),
        ({"name": ""}, 'name = "" names files too: expected letters'),
    ],
)
def test_a_value_of_the_wrong_type_or_range_is_named(values: dict, message: str):
    with pytest.raises(InputError) as refusal:
        parse(**values)
    assert f"tree configuration a: {message}" in str(refusal.value)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_nan_and_infinities_are_no_numbers(number: float):
    for values in ({"share": number}, {"parts": {"b": number}}):
        with pytest.raises(InputError, match="should be a finite number"):
            parse(**values)
    with pytest.raises(InputError, match="depth"):
        parse(depth=number)


@pytest.mark.parametrize("key", list(Tree.model_fields))
def test_null_is_no_value_of_any_key(key: str):
    with pytest.raises(InputError, match=f"{key} = null should be"):
        parse(**{key: None})


def test_all_problems_are_reported_at_once_with_the_known_keys():
    with pytest.raises(InputError) as refusal:
        parse(depth=0, share=2, leafs="red")
    assert str(refusal.value) == (
        "tree configuration a: depth = 0 should be greater than or equal to 1; "
        "share = 2 should be less than or equal to 1; unknown key 'leafs'. "
        "Known keys: name, depth, share, shuffle, size, score, parts."
    )


def test_all_values_that_do_not_go_together_are_reported_at_once():
    with pytest.raises(InputError, match="above the height; depth must not be above the width"):
        parse(depth=9)


def test_a_misspelt_key_is_reported_with_the_one_that_was_meant():
    with pytest.raises(InputError, match=r"unknown key 'shufle' \(did you mean 'shuffle'\?\)"):
        parse(shufle=False)


def test_a_key_of_the_past_is_refused_with_what_took_its_place():
    with pytest.raises(InputError, match=r"unknown key 'voter' \(use 'name'\)"):
        parse(voter="a")


def test_a_missing_key_is_named():
    with pytest.raises(InputError, match="name is missing"):
        parse_config(Tree, {}, where="tree configuration")


def test_a_configuration_never_changes():
    with pytest.raises(ValueError, match="frozen"):
        parse().depth = 5  # pyright: ignore[reportAttributeAccessIssue]
