"""The whole configuration: a mistake in a user's entry is reported in a sentence that says what was expected."""

import re

import pytest
import yaml

from workflow_scripts.workflow.closure import ROOT
from workflow_scripts.workflow.configuration import _RENAMED, checked, scale_file
from workflow_scripts.workflow.errors import InputError

CONFIG = yaml.safe_load((ROOT / "config.yaml").read_text())
ENTRY = {"particles": "own.mrcs"}

MISTAKES = {
    "a method": ({"aligment": {}}, "apply.aligment: there is no such key; did you mean alignment?"),
    "a key": (
        {"alignment": {"mine": ENTRY | {"pixelsize_a": 1.0}}},
        "apply.alignment.mine.pixelsize_a: there is no such key; did you mean pixel_size_a?",
    ),
    "a key in a section": (
        {"diffractive_imaging": {"mine": {"probe": {"voltage": 300.0}}}},
        "mine.probe.voltage: there is no such key; did you mean voltage_kv?",
    ),
    "a name": ({"alignment": {"my scan": ENTRY}}, "apply.alignment.my scan: a name may hold letters, digits, - and _"),
    "no name": (
        {"alignment": ENTRY},
        "alignment.particles: is 'own.mrcs', but should be a section with keys of its own",
    ),
    "a tilde": ({"alignment": {"mine": {"particles": "~/x.mrcs"}}}, "write the path in full, since ~ is not expanded"),
    "a relative path": ({"alignment": {"mine": ENTRY}}, "no file own.mrcs; correct the path, which begins in /"),
    "an absolute path": ({"alignment": {"mine": {"particles": "/no/x.mrcs"}}}, "no file /no/x.mrcs; correct the path"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_own_data_says_what_was_meant(name):
    apply, sentence = MISTAKES[name]
    with pytest.raises(InputError) as error:
        checked(CONFIG | {"apply": apply})
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("key", "value", "list_"), [("methods", "alignment", "['alignment']"), ("seeds", 3, "[3]")])
def test_one_value_where_a_list_belongs_is_shown_as_one(key, value, list_):
    with pytest.raises(InputError, match=re.escape(f"{key}: is {value!r}, but should be a list: {list_}")):
        checked(CONFIG | {key: value})


@pytest.mark.parametrize("scale", ["laptpo", None, 3])
def test_a_scale_that_there_is_not_is_named_with_those_that_there_are(scale):
    names = "smoke, laptop, workstation, gpu, paper"
    with pytest.raises(InputError, match=f"scale: is {scale!r}, but must be one of {names}"):
        scale_file({"scale": scale})


def test_keys_that_contradict_each_other_are_named_without_all_the_section():
    synthesize = CONFIG["potential"]["synthesize"] | {"materials": ["SrTiO3", "MoS2"]}
    with pytest.raises(InputError) as error:
        checked(CONFIG | {"potential": CONFIG["potential"] | {"synthesize": synthesize}})
    assert str(error.value).endswith(": potential.synthesize: held_out_material must be one of materials, not 'GaN'")


def test_the_configuration_without_own_data_is_right():
    assert not checked(CONFIG).apply.alignment


@pytest.mark.parametrize("old", _RENAMED)
def test_a_renamed_key_is_refused_with_its_new_name(old):
    method, stage, key = old.split(".")
    changed = CONFIG[method] | {stage: CONFIG[method][stage] | {key: 1}}
    with pytest.raises(InputError, match=f"{old}: this key is now {method}"):
        checked(CONFIG | {method: changed})
