"""A user's particles in the DAG: which jobs follow, and the message about a mistake before any of them."""

import pytest
import yaml

from tests.alignment import user_particles
from tests.workflow.running import assert_refused, copy_project, planned, snakemake

WORDS = ("--configfile", "my.yaml", "--config", "scale=smoke", "--")
FOLDER = "results/smoke/alignment/apply/mine"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = copy_project(tmp_path_factory.mktemp("apply"))
    user_particles.stack(folder, count=20)
    user_particles.write_list(folder / "own.star", 20)
    return folder


def configure(project, **changes):
    entries = {"mine": {"particles": "own.star"} | changes}
    (project / "my.yaml").write_text(yaml.safe_dump({"apply": {"alignment": entries}}))


def test_the_particles_wait_for_the_corrected_arms_network_of_one_seed(project):
    configure(project)
    for target in ("alignment_apply", f"{FOLDER}/aligned.star"):
        jobs = planned(project, *WORDS, target)
        steps = ("alignment_pretrain", "alignment_finetune", "alignment_apply_check", "alignment_apply_stack")
        assert {step: jobs.get(step) for step in steps} == dict.fromkeys(steps, 1)


def test_a_changed_stack_behind_a_list_is_seen(project):
    configure(project)
    report = f"{FOLDER}/check/report.json"
    done = snakemake(project, *WORDS, report)
    assert done.returncode == 0, done.stdout + done.stderr
    assert planned(project, *WORDS, report) == {}
    user_particles.stack(project, count=20, seed=3)
    assert planned(project, *WORDS, report) == {"alignment_apply_check": 1}


MISTAKES = {
    "an absent file": ({"particles": "absent.star"}, "apply.alignment.mine.particles: there is no file absent.star"),
    "an absent reference": ({"reference": "no.mrc"}, "apply.alignment.mine.reference: there is no file no.mrc"),
    "an unknown key": ({"particle": "own.star"}, "apply.alignment.mine.particle: there is no such key"),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_stops_before_any_job(project, kind):
    changes, sentence = MISTAKES[kind]
    configure(project, **changes)
    assert_refused(project, sentence, *WORDS, "alignment_apply")
