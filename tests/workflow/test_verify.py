"""`verify` on a copied results folder of all five methods, without Snakemake's records."""

import random
import shutil
from pathlib import Path

import pytest

from workflow_scripts.workflow import verify
from workflow_scripts.workflow.closure import ROOT, closure
from workflow_scripts.workflow.configuration import checked, recorded_settings
from workflow_scripts.workflow.files import json_text, sha256, write_json
from workflow_scripts.workflow.provenance import code_hashes, record, sealed
from workflow_scripts.workflow.reference import merged
from workflow_scripts.workflow.settings import STAGES

METHODS = ("diffractive_imaging", "potential", "alignment", "background", "matching")


@pytest.fixture(scope="module")
def present():
    """The settings of all stages, as the rule `verify` hands them on."""
    return recorded_settings(checked(merged("smoke")))


def modules_of(method, stage):
    """The modules of a job: the stage, and that of the corrected arm's estimator."""
    implementation = [f"workflow_scripts.{method}.estimators.network"] if stage == "predict" else []
    return [f"workflow_scripts.{method}.{stage}", *implementation]


@pytest.fixture(scope="module")
def results(present, tmp_path_factory):
    """A chain of six jobs for each method: what each made, and its provenance."""
    folder = tmp_path_factory.mktemp("project") / "results" / "smoke"
    rng = random.Random(0)
    for method in METHODS:
        inputs = {}
        for stage in STAGES:
            made = folder / method / stage / "made.bin"
            made.parent.mkdir(parents=True)
            made.write_bytes(rng.randbytes(1000))
            module, *implementation = modules_of(method, stage)
            options = {"estimator": "corrected", **present[f"{module} corrected"]} if implementation else {}
            outputs = {f"results/smoke/{method}/{stage}/made.bin": sha256(made)}
            facts = record(
                module=module,
                implementation="".join(implementation),
                settings=present[module] | options,
                inputs=inputs,
                outputs=outputs,
                code=code_hashes(closure(module, *implementation)),
                device="cpu",
                started="2026-01-01T00:00:00+00:00",
                wall_time_s=1.0,
            )
            write_json(made.parent / "provenance.json", sealed(facts))
            inputs = outputs
    return folder


@pytest.fixture
def copy(results, tmp_path):
    """A copy under another name, elsewhere."""
    return Path(shutil.copytree(results, tmp_path / "elsewhere"))


def sentences(folder, settings):
    return [finding.sentence for finding in verify.findings(folder, settings)]


def test_a_whole_copy_agrees(copy, present):
    assert sentences(copy, present) == []
    assert len(list(copy.rglob("provenance.json"))) == 30


@pytest.mark.parametrize("method", METHODS)
def test_one_flipped_bit_of_any_file_is_found_and_its_job_named(copy, present, method):
    rng = random.Random(method)
    for path in sorted((copy / method).rglob("*.*")):
        whole = path.read_bytes()
        content = bytearray(whole)
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(content)
        differences = list(verify.findings(copy, present))
        assert any(str(path) in finding.sentence for finding in differences)
        assert f"results/smoke/{path.relative_to(copy).as_posix()}" in {finding.damaged for finding in differences}
        path.write_bytes(whole)
    assert sentences(copy, present) == []


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("stage", STAGES)
def test_a_changed_setting_is_found(copy, present, method, stage):
    module = f"workflow_scripts.{method}.{stage}"
    if not present[module]:
        return
    key, value = next(iter(present[module].items()))
    found = sentences(copy, present | {module: present[module] | {key: "another"}})
    assert found == [
        f"{copy / method / stage / 'provenance.json'}: was made with {key} = {value!r}; it is 'another' now"
    ]


@pytest.mark.parametrize("method", METHODS)
def test_a_changed_setting_of_an_estimator_is_found_in_its_predictions(copy, present, method):
    name = f"workflow_scripts.{method}.predict corrected"
    found = sentences(copy, present | {name: {"options.none_such": 5}})
    assert found == [
        f"{copy / method / 'predict/provenance.json'}: was made with options.none_such = None; it is 5 now"
    ]
    other = f"workflow_scripts.{method}.predict another"
    assert sentences(copy, present | {other: {"options.none_such": 5}}) == []


@pytest.mark.parametrize("method", METHODS)
def test_a_changed_module_is_found_in_the_jobs_that_ran_it(copy, present, method, monkeypatch):
    changed = f"workflow_scripts/{method}/evaluation/metrics.py"

    def hashes(files):
        return {name: "other" if name == changed else value for name, value in code_hashes(files).items()}

    monkeypatch.setattr(verify, "code_hashes", hashes)
    expected = [
        f"{copy / method / stage / 'provenance.json'}: was made with another {changed}"
        for stage in STAGES
        if changed in closure(*modules_of(method, stage))
    ]
    assert expected
    assert sorted(sentences(copy, present)) == sorted(expected)


@pytest.mark.parametrize("method", METHODS)
def test_missing_and_extra_files_are_found(copy, present, method):
    made = copy / method / "predict" / "made.bin"
    made.unlink()
    (copy / method / "stray.csv").write_text("what is this\n")
    (copy / method / ".partial-x.npz").write_text("of a job that was killed\n")
    found = sentences(copy, present)
    assert any(sentence.startswith(f"{made}: is missing") for sentence in found)
    for name in ("stray.csv", ".partial-x.npz"):
        assert any(sentence.startswith(f"{copy / method / name}: no provenance accounts for it") for sentence in found)


def test_a_lost_provenance_leaves_files_that_nothing_accounts_for(copy, present):
    (copy / "matching/pretrain/provenance.json").unlink()
    (found,) = sentences(copy, present)
    assert found.startswith(f"{copy / 'matching/pretrain/made.bin'}: no provenance accounts for it")
    assert "--forcerun results/smoke/matching/pretrain/made.bin" in found


def test_a_changed_word_of_the_provenance_is_found(copy, present):
    path = copy / "potential/finetune/provenance.json"
    path.write_text(path.read_text().replace('"device": "cpu"', '"device": "gpu"'))
    assert sentences(copy, present)[0] == f"{path}: was changed after its job wrote it"


def test_the_command_that_repairs_is_printed(copy, present, monkeypatch, capsys):
    (copy / "alignment/predict/made.bin").write_bytes(b"")
    monkeypatch.setattr("sys.argv", ["verify", str(copy), "--settings", json_text(present)])
    with pytest.raises(SystemExit) as ended:
        verify.main()
    assert str(ended.value.code).startswith("error: 2 differences")  # an output, and the input of what followed
    words = "the same snakemake command with --forcerun results/smoke/alignment/predict/made.bin --"
    assert words in capsys.readouterr().out


def test_a_file_of_the_reference_run_lies_in_the_project(tmp_path):
    folder = tmp_path / "copy"
    assert verify.located("results/laptop/matching/made.bin", folder) == folder / "matching/made.bin"
    reference = "results/reference/laptop/matching/evaluate/metrics.csv"
    assert verify.located(reference, folder) == ROOT / reference
