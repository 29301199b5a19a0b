"""Which samples may be on which side of a split."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.potential.toy import toy_samples
from workflow_scripts.potential.networks.splits import finetuning_split, pretraining_split
from workflow_scripts.potential.settings import VARIANTS
from workflow_scripts.potential.simulation.samples import FILLED, PATCH
from workflow_scripts.workflow.errors import InputError

PUBLISHED, CORRECTED = VARIANTS["published"], VARIANTS["corrected"]
HELD_OUT = "GaN"
SAMPLES = toy_samples(per_material=6, side_px=32)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), share=st.floats(0.01, 0.49))
def test_no_orientation_is_on_both_sides_of_the_corrected_split(seed, share):
    train, validation = pretraining_split(SAMPLES, CORRECTED, HELD_OUT, share, seed)
    assert not set(train.specimen) & set(validation.specimen)
    assert len(train) + len(validation) == np.sum((SAMPLES.kind == FILLED) & (SAMPLES.material != HELD_OUT))
    assert len(set(validation.specimen)) == max(1, round(share * 12))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_orientations_are_on_both_sides_of_the_published_split(seed):
    train, validation = pretraining_split(SAMPLES, PUBLISHED, HELD_OUT, 0.3, seed)
    assert set(train.specimen) & set(validation.specimen)
    assert len(train) + len(validation) == np.sum(SAMPLES.kind == PATCH)
    assert len(validation) == round(0.3 * 36)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_the_held_out_material_never_pretrains_but_in_the_published_arm(seed):
    for side in pretraining_split(SAMPLES, CORRECTED, HELD_OUT, 0.2, seed):
        assert HELD_OUT not in side.material
        assert set(side.kind) == {FILLED}
    train, _ = pretraining_split(SAMPLES, PUBLISHED, HELD_OUT, 0.2, seed)
    assert HELD_OUT in train.material
    assert set(train.kind) == {PATCH}


def test_every_material_validates_before_one_does_twice():
    for seed in range(20):
        _, validation = pretraining_split(SAMPLES, CORRECTED, HELD_OUT, 4 / 12, seed)
        materials = [SAMPLES.material[SAMPLES.specimen == name][0] for name in set(validation.specimen)]
        assert sorted(materials) == ["KNbO3", "KNbO3", "SrTiO3", "SrTiO3"]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), count=st.integers(2, 8))
def test_finetuning_is_shown_as_many_samples_as_told_of_that_material_alone(seed, count):
    train, validation = finetuning_split(SAMPLES, CORRECTED, HELD_OUT, count, 0.3, seed)
    assert (len(train) + len(validation), len(validation)) == (count, min(max(1, round(0.3 * count)), count - 1))
    assert set(train.material) | set(validation.material) == {HELD_OUT}
    assert set(train.kind) | set(validation.kind) == {FILLED}
    assert not set(train.specimen) & set(validation.specimen)


def test_a_material_that_is_a_file_is_held_out_by_its_name():
    train, validation = pretraining_split(SAMPLES, CORRECTED, "crystals/GaN.cif", 0.2, 0)
    assert HELD_OUT not in {*train.material, *validation.material}


def test_too_few_samples_are_refused_in_a_sentence():
    with pytest.raises(InputError, match=r"finetune\.samples is 40, for which 28 samples of some orientations of GaN"):
        finetuning_split(SAMPLES, CORRECTED, HELD_OUT, 40, 0.3, 0)
    with pytest.raises(InputError, match="hold 0 crystal orientations of MoS2 "):
        finetuning_split(SAMPLES, CORRECTED, "MoS2", 4, 0.3, 0)
    alone = SAMPLES.rows(SAMPLES.material == HELD_OUT)
    with pytest.raises(InputError, match="hold 0 crystal orientations beside those of GaN"):
        pretraining_split(alone, CORRECTED, HELD_OUT, 0.3, 0)
    nothing = replace(PUBLISHED, patch_in_vacuum=False)
    with pytest.raises(InputError, match="hold 0 samples"):
        pretraining_split(SAMPLES.rows(SAMPLES.kind == PATCH), nothing, HELD_OUT, 0.3, 0)
