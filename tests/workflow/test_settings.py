"""Settings: strict types, sentences with the key's path, and the way to a command line and back."""

import argparse
import functools
import json
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.settings import (
    Settings,
    as_arguments,
    check,
    fields,
    flag,
    flatten,
    nest,
    parse_value,
)


class Inner(Settings):
    semiangle_mrad: float = Field(gt=0, description="Semiangle, mrad.")
    file: str | None = Field(description="A path.")


class Outer(Settings):
    inner: Inner = Field(description="A section.")
    epochs: int = Field(ge=1, description="Epochs.")
    doses_e: tuple[float, ...] = Field(description="Doses, electrons.")
    mode: Literal["a", "b"] = Field(description="A choice.")
    objects: tuple[Literal["a", "b"], ...] = Field(description="Some of them.")
    shuffled: bool = Field(description="A switch.")


VALID = {
    "inner": {"semiangle_mrad": 31.5, "file": None},
    "epochs": 3,
    "doses_e": [1, 2.5],
    "mode": "a",
    "objects": ["b"],
    "shuffled": True,
}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"epochs": 0}, "stage.epochs: is 0, but should be greater than or equal to 1"),
        ({"epochs": "1e-3"}, "1.0e-3, not 1e-3"),
        ({"epochs": 2.5}, "stage.epochs: is 2.5"),
        ({"epohcs": 3}, "stage.epohcs: there is no such key; did you mean epochs?"),
        ({"unlike": 3}, "stage.unlike: there is no such key (docs"),
        (
            {"inner": {"semiangle": 1.0, "file": None}},
            "inner.semiangle: there is no such key; did you mean semiangle_mrad?",
        ),
        ({"inner": "text"}, "stage.inner: is 'text', but should be a section with keys of its own"),
        ({"mode": "c"}, "should be 'a' or 'b'"),
        ({"shuffled": "yes"}, "stage.shuffled: is 'yes'"),
        ({"inner": {"semiangle_mrad": -1.0, "file": None}}, "stage.inner.semiangle_mrad: is -1.0"),
        ({"inner": {"semiangle_mrad": 1.0}}, "stage.inner.file: this key is missing"),
    ],
)
def test_a_mistake_is_a_sentence_with_the_path_of_the_key(change, sentence):
    with pytest.raises(InputError) as error:
        check(Outer, VALID | change, "stage")
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_values_that_are_no_yaml_are_refused():
    with pytest.raises(InputError, match="not plain YAML"):
        check(Outer, VALID | {"epochs": {1, 2}})
    with pytest.raises(InputError, match="semiangle_mrad"):
        check(Outer, VALID | {"inner": {"semiangle_mrad": float("nan"), "file": None}})


def parsed(words, of_fields):
    """The words by key, as a stage script's command line takes them."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for key, _ in of_fields:
        parser.add_argument(flag(key), dest=key)
    return vars(parser.parse_args(words))


def is_plain(text):
    return text != "null" and not text.startswith("-")


@given(
    st.builds(
        Outer,
        inner=st.builds(
            Inner,
            semiangle_mrad=st.floats(1e-6, 1e6),
            file=st.none() | st.text(st.characters(blacklist_categories=["Cs", "Cc"]), max_size=60).filter(is_plain),
        ),
        epochs=st.integers(1, 10**6),
        doses_e=st.lists(st.floats(-1e9, 1e9), max_size=4).map(tuple),
        mode=st.sampled_from("ab"),
        objects=st.lists(st.sampled_from("ab"), max_size=3).map(tuple),
        shuffled=st.booleans(),
    )
)
def test_arguments_read_back_are_the_same_settings(settings):
    by_flag = parsed(as_arguments(settings), fields(Outer))
    values = {key: parse_value(field, by_flag[key]) for key, field in fields(Outer)}
    assert check(Outer, nest(values)) == settings
    assert json.loads(json.dumps(dict(flatten(settings)))) == dict(flatten(settings))


def test_settings_may_be_a_section_of_a_command():
    inner = check(Mixed, {"rotation": 2.0})
    assert as_arguments(inner, "scan.") == ["--scan.rotation", "2.0"]


def test_flags_are_dashed():
    assert flag("probe.semiangle_mrad") == "--probe.semiangle-mrad"


class Mixed(Settings):
    rotation: float | Literal["search"] = Field(description="An angle or a word.")


@pytest.mark.parametrize("value", [0, -12.5, 1e-7, -1e-7, "search"])
def test_a_number_or_a_word_reads_back_as_what_it_was(value):
    settings = check(Mixed, {"rotation": value})
    ((_, field),) = fields(Mixed)
    word = parsed(as_arguments(settings), fields(Mixed))["rotation"]
    assert check(Mixed, {"rotation": parse_value(field, word)}) == settings


class Named(Settings):
    name: str = Field(description="A file.")


@pytest.mark.parametrize("name", ["", "a b", "a=b", "$(touch pwned)"])
def test_a_text_goes_through_a_command_line(name):
    assert parsed(as_arguments(check(Named, {"name": name})), fields(Named)) == {"name": name}


UNUSABLE = {
    "a list inside itself": lambda: (own := [], own.append(own), own)[-1],
    "anchors of anchors": lambda: functools.reduce(lambda inside, _: [inside] * 10, range(9), "lol"),
    "a nest": lambda: functools.reduce(lambda inside, _: [inside], range(5000), 1),
    "a flag": lambda: "-h",
    "a long name": lambda: "x" * 300,
    "a long path": lambda: "x/" * 3000,
    "a line break": lambda: "a\nb",
    "a zero byte": lambda: "a\0b",
    "half of a character": lambda: "\ud800",
    "an integer of thousands of digits": lambda: 10**5000,
    "a set": lambda: {1},
}


@pytest.mark.parametrize("kind", UNUSABLE)
def test_what_no_setting_can_be_is_one_short_sentence(kind):
    with pytest.raises(InputError) as refused:
        check(Named, {"name": UNUSABLE[kind]()})
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 600


def test_many_mistakes_stay_one_sentence_that_can_be_read():
    with pytest.raises(InputError, match="and 980 more mistakes") as refused:
        check(Named, {f"key{number}": "x" * 200 for number in range(1000)} | {"name": "a"})
    assert len(str(refused.value)) < 8000
