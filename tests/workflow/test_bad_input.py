"""What a user can get wrong: one sentence that names it, no traceback, exit code ≠ 0, nothing half-written."""

import re

import numpy as np
import pytest
import yaml
from skimage import io
from snakemake.utils import update_config

from tests.workflow.running import copy_project, snakemake
from workflow_scripts.workflow.configuration import checked
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.reference import merged


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return copy_project(tmp_path_factory.mktemp("bad_input"))


def refused(project, overlay, *words):
    """Snakemake's output for an overlay; asserts that it is refused and leaves no artifact."""
    (project / "my.yaml").write_text(overlay if isinstance(overlay, str) else yaml.safe_dump(overlay))
    done = snakemake(project, "--configfile", "my.yaml", "--config", "scale=smoke", *words)
    text = done.stdout + done.stderr
    assert done.returncode != 0, text
    assert "Traceback" not in text
    left = [path for path in (project / "results").rglob("*") if path.suffix in (".npz", ".json", ".safetensors")]
    assert not left
    return text


def of_stage(stage, **keys):
    return {"diffractive_imaging": {stage: keys}}


CONFIGURATIONS = {
    "an unknown key": (of_stage("pretrain", learning_rat=0.1), "pretrain.learning_rat: there is no such key"),
    "a number as text": (
        "diffractive_imaging: {pretrain: {learning_rate: 1e-3}}\n",
        "learning_rate: is '1e-3', but should be a valid number; it was read as text: YAML wants 1.0e-3",
    ),
    "out of range": (of_stage("pretrain", epochs=0), "pretrain.epochs: is 0, but should be greater than or equal to 1"),
    "ranges that contradict": (of_stage("pretrain", epoch_by_hand=99), "epoch_by_hand 99 must not exceed epochs"),
    "a method that is not there": ({"methods": ["nothing"]}, "there is no method 'nothing'"),
    "a seed named twice": ({"seeds": [1, 1]}, "seeds: is [1, 1], but each may be listed only once"),
    "a negative seed": ({"seeds": [-1]}, "seeds.0: is -1"),
    "a headline that is not tested": (of_stage("synthesize", dose_e=20000.0), "test_dose_e must include the full dose"),
    "a dose named twice": (
        of_stage("synthesize", test_dose_e=[27882.0, 27882.0]),
        "test_dose_e must list each value once",
    ),
    "a folder that is not there": (of_stage("synthesize", photographs="/no/where"), "there is no folder /no/where"),
    "a folder without photographs": (of_stage("synthesize", photographs="rules"), "found 0 different photograph(s)"),
    "a probe that is not there": (of_stage("synthesize", probe={"file": "no.npy"}), "probe.file: is 'no.npy'"),
    "a disc beyond the detector": (
        of_stage("synthesize", probe={"aperture_radius_px": 40.0}),
        "does not fit a detector",
    ),
    "text of a shell": (
        of_stage("synthesize", photographs="$(touch pwned); `touch pwned`"),
        "there is no folder $(touch",
    ),
}


@pytest.mark.parametrize("kind", CONFIGURATIONS)
def test_a_bad_configuration_is_one_sentence(kind):
    overlay, sentence = CONFIGURATIONS[kind]
    config = merged("smoke")
    update_config(config, yaml.safe_load(overlay) if isinstance(overlay, str) else overlay)
    with pytest.raises(InputError, match=re.escape(sentence)) as caught:
        checked(config)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["an unknown key", "a number as text", "text of a shell"])
def test_a_bad_configuration_stops_before_any_job(project, kind):
    overlay, sentence = CONFIGURATIONS[kind]
    assert sentence in refused(project, overlay)
    assert not (project / "pwned").exists()


def test_yaml_that_is_none(project):
    assert "not valid JSON or YAML" in refused(project, "diffractive_imaging: [\n")


def test_apply_without_an_entry_is_a_sentence(project):
    assert "the settings have no entry in apply.alignment" in refused(project, {}, "--dry-run", "--", "alignment_apply")


def picture(seed):
    return np.random.default_rng(seed).integers(0, 255, (96, 96), dtype=np.uint8)


def truncated(path):
    io.imsave(path, picture(9), check_contrast=False)
    path.write_bytes(path.read_bytes()[:2000])


BAD_FILES = {
    "truncated.png": (truncated, "truncated.png: not a readable image"),
    "nan.tif": (
        lambda path: io.imsave(path, np.full((96, 96), np.nan, np.float32)),
        "nan.tif: found values that are no numbers below",
    ),
    "probe.npy": (
        lambda path: np.save(path, np.ones((16, 16), complex)),
        "probe.npy: the probe has the shape (16, 16)",
    ),
    "intensity.npy": (
        lambda path: np.save(path, np.ones((32, 32))),
        "intensity.npy: the probe is float64, expected the",
    ),
    "cut.npy": (lambda path: path.write_bytes(b"\x93NUMPY\x01\x00"), "cut.npy: the probe is not a whole .npy file"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_stops_its_job_with_one_sentence(project, tmp_path, name):
    make, sentence = BAD_FILES[name]
    make(tmp_path / name)
    if name.endswith(".npy"):
        overlay = of_stage("synthesize", probe={"file": str(tmp_path / name)})
        shard = "train/shard0"
    else:
        for k in range(2):
            io.imsave(tmp_path / f"photo{k}.png", picture(k), check_contrast=False)
        overlay = of_stage("synthesize", photographs=str(tmp_path))
        shard = "{train,test}/shard0"
    targets = [
        f"results/smoke/diffractive_imaging/synthesize/{split}/shard0.npz"
        for split in ("train", "test")
        if split in shard
    ]
    text = refused_one_by_one(project, overlay, targets)
    assert f"error: {tmp_path / sentence}" in text


def refused_one_by_one(project, overlay, targets):
    """The complaint about the target that needs the bad file; which split it falls into its name decides."""
    (project / "my.yaml").write_text(yaml.safe_dump(overlay))
    done = snakemake(project, "--keep-going", "--configfile", "my.yaml", "--config", "scale=smoke", "--", *targets)
    text = done.stdout + done.stderr
    assert done.returncode != 0, text
    assert "Traceback" not in text
    made = [path for path in (project / "results").rglob("*") if path.suffix in (".npz", ".json")]
    for path in made:
        path.unlink()
    # Only the split without the bad file may have been made.
    assert len({path.parent for path in made}) < 2
    assert not list((project / "results").rglob(".partial-*"))
    return text
