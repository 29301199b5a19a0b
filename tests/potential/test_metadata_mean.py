"""What the metadata give without an image."""

from dataclasses import replace

import numpy as np
import pytest

from tests.potential.toy import toy_samples
from workflow_scripts.potential.estimators.metadata_mean import MetadataMean
from workflow_scripts.potential.evaluation.metrics import TrueImage, compare
from workflow_scripts.potential.simulation.samples import FILLED, PATCH
from workflow_scripts.workflow.errors import InputError

TRAIN = toy_samples(3, seed=0)


def test_a_known_material_has_the_mean_of_its_kind_and_thickness():
    mean = MetadataMean([TRAIN.rows(np.arange(0, len(TRAIN), 2)), TRAIN.rows(np.arange(1, len(TRAIN), 2))])
    for kind in (FILLED, PATCH):
        rows = (TRAIN.kind == kind) & (TRAIN.material == "GaN") & (TRAIN.thickness_nm == 40)
        assert mean(TRAIN.rows(rows)) == pytest.approx(np.full(3, TRAIN.potential[rows].mean()))


def test_an_unseen_material_has_the_mean_over_materials_at_its_thickness():
    seen = TRAIN.rows(TRAIN.material != "GaN")
    means = [
        seen.potential[(seen.kind == FILLED) & (seen.material == name) & (seen.thickness_nm == 10)].mean()
        for name in ("KNbO3", "SrTiO3")
    ]
    unseen = TRAIN.rows((TRAIN.kind == FILLED) & (TRAIN.material == "GaN") & (TRAIN.thickness_nm == 10))
    assert MetadataMean([seen])(unseen) == pytest.approx(np.full(3, np.mean(means)))


def test_it_cannot_know_where_an_atom_is():
    """Correlation 0, of all periods and of the short ones, however well it knows the mean."""
    potential = np.broadcast_to(MetadataMean([TRAIN])(TRAIN)[:, None, None], TRAIN.potential.shape)
    light = TRAIN.microscope
    for row in range(4):
        metrics = compare(potential[row], TrueImage.of(TRAIN.potential[row], light.pixel_size_a, 1.6))
        assert (metrics["pearson"], metrics["pearson_highpass_1.2A"], metrics["column_recall"]) == (0, 0, 0)
        assert metrics["mean_bias_abs_percent"] < 20


def test_a_thickness_between_those_of_the_training_has_a_mean_between():
    mean = MetadataMean([TRAIN])
    thin, thick = (TRAIN.rows(np.flatnonzero(TRAIN.thickness_nm == t)) for t in (10, 40))
    between = replace(thin, thickness_nm=np.full(len(thin), 25.0))
    assert mean(between) == pytest.approx((mean(thin) + mean(thick)) / 2)


def test_a_kind_without_training_is_refused():
    with pytest.raises(InputError, match="no filled sample"):
        MetadataMean([TRAIN.rows(TRAIN.kind == PATCH)])(TRAIN)
