"""Every job of background that may take a GPU, on the pretend one; one step of the published diffusion U-net."""

import pytest

from tests.background import user_tiles
from tests.pretend_stages import PretendStudy, every_estimator

JOBS = [
    *("synthesize_train_0", "synthesize_test_0"),
    *("pretrain_published_seed0", "finetune_published_seed0", "predict_published_seed0"),
    *("pretrain_corrected_seed0", "finetune_corrected_seed0", "predict_corrected_seed0"),
    *("apply_mine_adapt", "apply_mine"),
]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("background")
    user_tiles.write(folder / "tiles")
    return PretendStudy(folder, "background", every_estimator("background"), user_tiles.settings())


@pytest.mark.parametrize("job", JOBS)
def test_a_job(study, job):
    assert study.run(job).launches


def test_all_other_jobs_that_take_a_gpu(study):
    assert study.failures(name for name in study.on_gpu() if name not in JOBS) == {}


def test_a_step_of_the_diffusion_network_of_the_recipe(study):
    flags = {"network__kind": "monai", "pairs": "8", "validation_pairs": "8"}
    assert study.run("pretrain_published_seed0", **flags).launches["convolution_backward"] > 50


def test_trainings_keep_on_the_gpu_what_the_table_says(study):
    assert study.unlike_the_table() == {}
