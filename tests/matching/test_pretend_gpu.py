"""Every job of matching that may take a GPU, on the pretend one; steps of ResNet-50."""

import numpy as np
import pytest

from tests.matching import silicon_scan
from tests.pretend_stages import PretendStudy, every_estimator

JOBS = [
    *("synthesize_train_0", "synthesize_test_0", "predict_polar_template_seed0"),
    *("pretrain_published_seed0", "finetune_published_seed0", "predict_published_seed0"),
    *("pretrain_corrected_seed0", "finetune_corrected_seed0", "predict_corrected_seed0"),
    "apply_mine",
]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("matching")
    np.save(folder / "scan.npy", silicon_scan.counts())
    entry = {"patterns": "scan.npy", "crystal": "silicon", "pixel_size_per_a": silicon_scan.PIXEL, "gallery": 100}
    return PretendStudy(folder, "matching", every_estimator("matching"), entry)


@pytest.mark.parametrize("job", JOBS)
def test_a_job(study, job):
    assert study.run(job).launches


def test_all_other_jobs_that_take_a_gpu(study):
    assert study.failures(name for name in study.on_gpu() if name not in JOBS) == {}


def test_steps_of_the_residual_network_of_the_recipe(study):
    steps = study.run("pretrain_published_seed0", network__recipe="resnet50", optimizer="sgd")
    assert steps.launches["convolution_backward"] > 50
    weights = study.jobs["pretrain_published_seed0"].outputs[0]
    steps = study.run("finetune_published_seed0", pretrained=f"changed/{weights}", optimizer="sgd")
    assert steps.launches["convolution_backward"] > 50
