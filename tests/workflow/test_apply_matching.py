"""A user's patterns in the DAG: which jobs follow, and how a mistake is reported before any of them."""

import numpy as np
import pytest
import yaml

from tests.workflow.running import assert_refused, copy_project, planned

WORDS = ("--configfile", "my.yaml", "--config", "scale=smoke", "--")
ENTRY = {"patterns": "scan.npy", "crystal": "polyethylene", "pixel_size_per_a": 0.03}
AFTER = dict.fromkeys(("matching_pretrain", "matching_finetune", "matching_apply_check", "matching_apply_patterns"), 1)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = copy_project(tmp_path_factory.mktemp("apply"))
    np.save(folder / "scan.npy", np.ones((2, 2, 40, 40)))
    (folder / "empty").mkdir()
    return folder


def configure(project, **changes):
    (project / "my.yaml").write_text(yaml.safe_dump({"apply": {"matching": {"mine": ENTRY | changes}}}))


def test_the_patterns_wait_for_the_corrected_arms_network_of_one_seed(project):
    configure(project)
    for target in ("matching_apply", "results/smoke/matching/apply/mine/orientations.csv"):
        jobs = planned(project, *WORDS, target)
        jobs.pop("matching_apply", None)
        assert jobs.pop("matching_synthesize") >= 1
        assert jobs == AFTER


MISTAKES = {
    "an absent scan": ({"patterns": "absent.npy"}, "apply.matching.mine.patterns: there is no file absent.npy"),
    "an absent folder": ({"patterns": "absent"}, "apply.matching.mine.patterns: there is no folder or file absent;"),
    "an empty folder": (
        {"patterns": "empty"},
        "apply.matching.mine.patterns: the folder empty holds no .tif, .tiff or .png",
    ),
    "a text": ({"patterns": "config.yaml"}, "apply.matching.mine.patterns: config.yaml is no .tif, .tiff or .png"),
    "an absent crystal": ({"crystal": "absent.cif"}, "apply.matching.mine.crystal: there is no file absent.cif"),
    "an unknown key": ({"pattern": "scan.npy"}, "apply.matching.mine.pattern: there is no such key"),
    "no dataset": ({"patterns": "scan.h5"}, "needs the path of the dataset inside it"),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_stops_before_any_job(project, kind):
    changes, sentence = MISTAKES[kind]
    configure(project, **changes)
    assert_refused(project, sentence, *WORDS, "matching_apply")
