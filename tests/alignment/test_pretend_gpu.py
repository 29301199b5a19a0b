"""Every job of alignment that may take a GPU, on the pretend one."""

import pytest

from tests.alignment import user_particles
from tests.pretend_stages import PretendStudy, every_estimator

JOBS = [
    *("synthesize_train_0", "synthesize_test_0", "predict_polar_pairwise_seed0"),
    *("pretrain_published_seed0", "finetune_published_seed0", "predict_published_seed0"),
    *("pretrain_corrected_seed0", "finetune_corrected_seed0", "predict_corrected_seed0"),
    "apply_mine",
]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alignment")
    user_particles.stack(folder, count=20)
    user_particles.write_list(folder / "own.star", 20)
    return PretendStudy(folder, "alignment", every_estimator("alignment"), {"particles": "own.star"})


@pytest.mark.parametrize("job", JOBS)
def test_a_job(study, job):
    assert study.run(job).launches


def test_all_other_jobs_that_take_a_gpu(study):
    assert study.failures(name for name in study.on_gpu() if name not in JOBS) == {}


def test_trainings_keep_on_the_gpu_what_the_table_says(study):
    assert study.unlike_the_table() == {}
