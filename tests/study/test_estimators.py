"""The registry of estimators: defaults, order, and a sentence for each mistake."""

import pytest

from workflow_scripts.study.estimators import read_registry
from workflow_scripts.workflow.closure import PACKAGE, ROOT
from workflow_scripts.workflow.configuration import known_methods
from workflow_scripts.workflow.errors import InputError

TEXT = """
zeros: {kind: trivial, role: computed, label: nothing}
ridge: {kind: classical, needs: [shards], label: ridge regression, colour: green, marker: ^}
published: {kind: published, role: arm, label: the recipe}
only_fault: {kind: learned, role: ablation, needs: [pretrained], pretrained_as: corrected, label: one fault}
"""


def registry(tmp_path, text=TEXT):
    (tmp_path / "estimators.yaml").write_text(text)
    return read_registry(tmp_path / "estimators.yaml")


def test_defaults_follow_from_kind_and_name(tmp_path):
    entries = registry(tmp_path)
    assert (entries["ridge"].module, entries["ridge"].settings, entries["ridge"].gpu) == ("ridge", "ridge", False)
    assert entries["published"].needs == ("pretrained", "finetuned") and entries["published"].module == "network"
    assert entries["only_fault"].needs == ("pretrained",) and entries["only_fault"].pretrained_as == "corrected"
    assert entries.trained() == ["published", "only_fault"]
    assert entries.predicting() == ["ridge", "published", "only_fault"]
    assert entries.named("baseline") == ["ridge"]


def test_unknown_names_follow_in_alphabetical_order_and_have_looks(tmp_path):
    entries = registry(tmp_path)
    assert entries.ordered(["zeta", "ridge", "alpha", "zeros"]) == ["zeros", "ridge", "alpha", "zeta"]
    assert entries["zeta"].looks.keys() == {"color", "marker"} and "zeta" not in entries


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ridge: {kind: magic, label: x}", "ridge.kind"),
        ("ridge: {kind: classical}", "ridge.label: Field required"),
        ("ridge: {kind: classical, label: x, colour: mauve}", "ridge.colour"),
        ("ridge: {kind: classical, label: x, labels: y}", "ridge.labels"),
        ("[]", "the whole"),
        ("ridge: {", "cannot be read"),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path, text, message):
    with pytest.raises(InputError, match=message) as caught:
        registry(tmp_path, text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("method", known_methods())
def test_every_entry_has_its_module_and_every_module_its_entry(method):
    folder = ROOT / PACKAGE / method
    entries = read_registry(folder / "estimators.yaml")
    modules = {path.stem for path in (folder / "estimators").glob("*.py")} - {"__init__"}
    assert modules == {entries[name].module for name in entries.predicting()}
