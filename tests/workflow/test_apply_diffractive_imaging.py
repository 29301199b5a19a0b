"""A user's scan through the whole DAG, and the messages for one that cannot be used."""

import json
import subprocess
import sys

import h5py
import numpy as np
import pytest
import yaml

from tests.diffractive_imaging import user_scan
from tests.workflow.running import ENVIRONMENT, assert_refused, copy_project, planned, snakemake
from workflow_scripts.diffractive_imaging.settings import Apply
from workflow_scripts.workflow.settings import as_arguments, check

WORDS = ("--configfile", "my.yaml", "--config", "scale=smoke", "--")
FOLDER = "results/smoke/diffractive_imaging/apply/mine"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = copy_project(tmp_path_factory.mktemp("apply"))
    np.save(folder / "scan.npy", user_scan.recorded(user_scan.scene()[2]))
    return folder


def configure(project, name="mine", **changes):
    entries = {name: user_scan.settings(**changes)}
    (project / "my.yaml").write_text(yaml.safe_dump({"apply": {"diffractive_imaging": entries}}))


def test_one_scan_from_its_file_to_its_phase(project):
    configure(project)
    done = snakemake(project, *WORDS, "diffractive_imaging_apply")
    assert done.returncode == 0, done.stdout + done.stderr
    folder = project / FOLDER
    for name in ("phase.h5", "phase.tif", "preview.png", "quality.json", "provenance.json"):
        assert (folder / name).stat().st_size > 200, name
    with h5py.File(folder / "phase.h5") as file:
        assert np.isfinite(file["phase_rad"][...]).any()
        assert len(file["chi2_per_pattern"]) == user_scan.POINTS[0] * user_scan.POINTS[1]
        assert file.attrs["pixel_size_a"] == pytest.approx(user_scan.PIXEL_A)
    quality = json.loads((folder / "quality.json").read_text())
    assert quality["orientation"] == {"rotation_deg": user_scan.ROTATION_DEG, "detector_transposed": True}
    # Even a network of smoke size explains the patterns better than no object does.
    assert quality["quality"]["chi2_finetuned"] < quality["quality"]["chi2_without_object"]
    record = json.loads((folder / "check/provenance.json").read_text())
    assert "scan.npy" in record["inputs"]


def test_the_run_is_complete_and_its_provenance_agrees(project):
    configure(project)
    assert planned(project, *WORDS, "diffractive_imaging_apply") == {}
    verify = [sys.executable, "-m", "workflow_scripts.workflow.verify", "results/smoke"]
    checked = subprocess.run(verify, cwd=project, env=ENVIRONMENT, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


def test_a_changed_setting_of_a_scan_remakes_its_network_and_its_image(project):
    configure(project, dose_max_e=60000.0)
    jobs = planned(project, *WORDS, f"{FOLDER}/phase.tif")
    assert set(jobs) == {
        f"diffractive_imaging_apply_{stage}" for stage in ("check", "synthesize", "pretrain", "finetune", "image")
    }


MISTAKES = {
    "an absent file": ({"patterns": "absent.npy"}, "other.patterns: there is no file absent.npy"),
    "absent positions": (
        {"positions": "absent.npy", "step_a": None},
        "other.positions: there is no file absent.npy",
    ),
    "an unknown key": ({"pattern": "scan.npy"}, "apply.diffractive_imaging.other.pattern: there is no such key"),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_stops_before_any_job(project, kind):
    changes, sentence = MISTAKES[kind]
    configure(project, "other", **changes)
    assert_refused(project, sentence, *WORDS, "diffractive_imaging_apply")


def test_a_name_that_is_not_configured_is_refused_with_those_that_are(project):
    configure(project)
    done = snakemake(project, "--dry-run", *WORDS, FOLDER.replace("mine", "yours") + "/phase.h5")
    assert done.returncode == 1
    assert "has no entry 'yours'; it has mine" in done.stdout + done.stderr


def test_a_scan_that_cannot_be_used_leaves_one_sentence_and_nothing_else(project, tmp_path):
    stack = np.load(project / "scan.npy").astype(np.float32)
    stack[0, 0, 0, 0] = np.nan
    np.save(tmp_path / "bad.npy", stack)
    words = as_arguments(check(Apply, user_scan.settings()))
    outputs = [f"--{name}={tmp_path}/out/{name}.json" for name in ("scan", "report", "provenance")]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "workflow_scripts.diffractive_imaging.apply.check", *words),
            *("--patterns-file", str(tmp_path / "bad.npy"), *outputs),
        ],
        cwd=project,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: patterns: ") and done.stderr.count("\n") == 1
    assert "pattern 0 holds values that are not finite" in done.stderr
    assert not list((tmp_path / "out").iterdir())
