"""Every job of potential that may take a GPU, on the pretend one; one step of SwinUNETR."""

import numpy as np
import pytest

from tests.potential import user_images
from tests.pretend_stages import PretendStudy, every_estimator

JOBS = [
    *("synthesize_train_0", "synthesize_test_0"),
    *("pretrain_published_seed0", "finetune_published_seed0", "predict_published_seed0"),
    *("pretrain_corrected_seed0", "finetune_corrected_seed0", "predict_corrected_seed0"),
    "apply_mine",
]
COPY = "finetune_published_seed0"  # hands the pretrained weights on


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("potential")
    for number, image in enumerate(user_images.counts()):
        np.save(folder / f"segment{number}.npy", image)
    # 64 pixels are the least that SwinUNETR takes
    changes = every_estimator("potential") | {"synthesize": {"side_px": 64}}
    return PretendStudy(folder, "potential", changes, user_images.settings())


@pytest.mark.parametrize("job", JOBS)
def test_a_job(study, job):
    assert study.run(job).launches or job == COPY


def test_all_other_jobs_that_take_a_gpu(study):
    assert study.failures(name for name in study.on_gpu() if name not in JOBS) == {}


@pytest.mark.parametrize("arm", ["published", "corrected"])
def test_a_step_of_the_transformer(study, arm):
    flags = {"network__kind": "swin_unetr", "epochs": "1"}
    assert study.run(f"pretrain_{arm}_seed0", **flags).launches["convolution_backward"] > 20


def test_trainings_keep_on_the_gpu_what_the_table_says(study):
    assert study.unlike_the_table() == {}
