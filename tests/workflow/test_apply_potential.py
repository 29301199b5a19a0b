"""A user's segmented images in the DAG: which jobs follow, and the message for a mistake before any of them runs."""

import numpy as np
import pytest
import yaml

from tests.potential import user_images
from tests.workflow.running import assert_refused, copy_project, planned, snakemake

WORDS = ("--configfile", "my.yaml", "--config", "scale=smoke", "--")
FOLDER = "results/smoke/potential/apply/mine"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = copy_project(tmp_path_factory.mktemp("apply"))
    for number, image in enumerate(user_images.counts()):
        np.save(folder / f"segment{number}.npy", image)
    return folder


def configure(project, **changes):
    entries = {"mine": user_images.settings(**changes)}
    (project / "my.yaml").write_text(yaml.safe_dump({"apply": {"potential": entries}}))


def test_the_images_wait_for_the_corrected_arms_network_of_one_seed(project):
    configure(project)
    for target in ("potential_apply", f"{FOLDER}/potential.tif"):
        jobs = planned(project, *WORDS, target)
        jobs.pop("potential_apply", None)
        assert jobs.pop("potential_synthesize") >= 1
        assert jobs == dict.fromkeys(
            ("potential_pretrain", "potential_finetune", "potential_apply_check", "potential_apply_image"), 1
        )


MISTAKES = {
    "an absent file": ({"images": ["absent.npy"]}, "apply.potential.mine.images.0: there is no file absent.npy"),
    "an absent scan": (
        {"images": None, "patterns": "absent.npy"},
        "apply.potential.mine.patterns: there is no file absent.npy",
    ),
    "an unknown key": ({"image": "segment0.npy"}, "apply.potential.mine.image: there is no such key"),
    "a turned detector": ({"segment_azimuth_deg": 45.0}, "45 is no multiple of 90"),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_stops_before_any_job(project, kind):
    changes, sentence = MISTAKES[kind]
    configure(project, **changes)
    assert_refused(project, sentence, *WORDS, "potential_apply")


def test_a_name_that_is_not_configured_is_refused_with_those_that_are(project):
    configure(project)
    done = snakemake(project, "--dry-run", *WORDS, FOLDER.replace("mine", "yours") + "/potential.h5")
    assert done.returncode == 1
    assert "has no entry 'yours'; it has mine" in done.stdout + done.stderr
