"""Every job of diffractive imaging that may take a GPU, on the pretend one; one step of the residual U-net."""

import numpy as np
import pytest

from tests.diffractive_imaging import user_scan
from tests.pretend_stages import PretendStudy, every_estimator

JOBS = [
    *("pretrain_published_seed0", "finetune_published_seed0", "predict_published_seed0"),
    *("pretrain_corrected_seed0", "finetune_corrected_seed0", "predict_corrected_seed0"),
    *("apply_mine_pretrain", "apply_mine_finetune", "apply_mine"),
]
COPY = "finetune_published_seed0"  # hands the pretrained weights on


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("diffractive_imaging")
    np.save(folder / "scan.npy", user_scan.recorded(user_scan.scene()[2]))
    return PretendStudy(folder, "diffractive_imaging", every_estimator("diffractive_imaging"), user_scan.settings())


@pytest.mark.parametrize("job", JOBS)
def test_a_job(study, job):
    assert study.run(job).launches or job == COPY


def test_all_other_jobs_that_take_a_gpu(study):
    assert study.failures(name for name in study.on_gpu() if name not in JOBS) == {}


@pytest.mark.parametrize("arm", ["published", "corrected"])
def test_a_step_of_the_residual_network(study, arm):
    flags = {"network__kind": "unet", "batch_size": "64"}
    assert study.run(f"pretrain_{arm}_seed0", **flags).launches["convolution_backward"] > 20
