import hashlib

import numpy as np
import pytest
import torch

from tests.potential.synthesis import small
from workflow_scripts.optics.detectors import Detector
from workflow_scripts.optics.plane_waves import Probe
from workflow_scripts.potential.simulation import specimens, structures
from workflow_scripts.potential.simulation.datasets import make_samples
from workflow_scripts.potential.simulation.samples import FILLED, MATCHED, PATCH, RING, read_samples
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import write_arrays

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def training():
    return make_samples(small(), "train", 0, CPU)


def digests(samples):
    return {name: hashlib.sha256(np.ascontiguousarray(array)).hexdigest() for name, array in samples.arrays().items()}


def test_both_kinds_have_as_many_samples_of_every_material(training):
    assert len(training) == 3 * 2 * 2 * 2  # materials, kinds, views, thicknesses
    for kind in (FILLED, PATCH):
        assert np.unique(training.material[training.kind == kind], return_counts=True)[1].tolist() == [4, 4, 4]
    assert training.images[RING].shape == training.images[MATCHED].shape == (24, 4, 32, 32)


def test_the_same_seed_gives_the_same_bytes(training):
    assert digests(make_samples(small(), "train", 0, CPU)) == digests(training)
    other = digests(make_samples(small(seed=1), "train", 0, CPU))
    assert all(other[name] != digest for name, digest in digests(training).items() if name in ("input", "potential"))


def test_a_specimen_does_not_depend_on_what_else_is_made(training):
    more = make_samples(small(materials=("GaN", "MoS2"), thickness_nm=(2.0, 4.0)), "train", 0, CPU)
    kept = training.rows(training.material != "SrTiO3")
    assert np.array_equal(more.images[RING], kept.images[RING])


def test_test_and_training_share_no_orientation(training):
    """Neither the name nor the seed of a specimen: tilts and rotations differ too."""
    shards = [training, make_samples(small(), "train", 1, CPU), make_samples(small(), "test", 0, CPU)]
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert not set(shards[first].specimen) & set(shards[second].specimen)
        turns = [{tuple(rotation) for rotation in shards[k].rotation_deg} for k in (first, second)]
        assert not turns[0] & turns[1]


def test_the_potential_of_a_filled_crystal_repeats_and_a_patch_ends_in_vacuum(training):
    for kind, in_vacuum in ((FILLED, False), (PATCH, True)):
        chosen = training.rows((training.kind == kind) & (training.material == "SrTiO3"))
        corner = chosen.potential_limited[:, :3, :3].mean(axis=(1, 2)) / chosen.potential_limited.mean(axis=(1, 2))
        assert (abs(corner) < 0.3).all() == in_vacuum


def test_images_are_shares_of_the_beam(training):
    for images in training.images.values():
        assert images.min() > 0
        assert (images.sum(axis=1) < 1 + 1e-5).all()
    assert np.allclose(training.arrays()["sum"], training.images[RING].sum(axis=1))


def test_the_recipes_mos2_ignores_its_thickness(training):
    layer = training.rows((training.kind == PATCH) & (training.material == "MoS2"))
    assert layer.thickness_nm.tolist() == [2.0, 4.0] * 2
    assert np.array_equal(layer.potential[0], layer.potential[1])
    filled = training.rows((training.kind == FILLED) & (training.material == "MoS2"))
    ratio = filled.thickness_nm[1] / filled.thickness_nm[0]
    assert filled.potential[1].mean() == pytest.approx(ratio * filled.potential[0].mean(), rel=0.1)


def test_training_thicknesses_lie_anywhere_in_the_range_and_those_of_patches_are_the_recipes(training):
    filled, patches = (training.rows(training.kind == kind) for kind in (FILLED, PATCH))
    assert filled.thickness_nm.min() > 1.7 and filled.thickness_nm.max() < 4.3
    assert (np.diff(filled.thickness_nm.reshape(-1, 2)) > 0).all()
    assert len(set(filled.thickness_nm)) == 6  # the views of a crystal share its thicknesses
    assert (abs(patches.thickness_nm - np.tile([2.0, 4.0], 6)) < 0.14).all()
    # The label is the thickness that was passed: the mean of whole cells is proportional to it
    cells = filled.rows(filled.material == "SrTiO3")
    assert cells.potential.mean(axis=(1, 2)) / cells.thickness_nm == pytest.approx(np.full(4, 224), rel=0.02)


@pytest.fixture(scope="module")
def tested():
    return make_samples(small(), "test", 0, CPU)


def test_the_test_file_has_more_orientations_of_the_held_out_material_and_the_zone_axis_of_all(tested):
    usual = tested.under("")
    for material, count in (("GaN", 2), ("SrTiO3", 1)):
        chosen = usual.rows((usual.kind == FILLED) & (usual.material == material))
        assert len(set(chosen.specimen)) == count
        on_axis = (chosen.rotation_deg[:, 1:] == 0).all(axis=1)
        assert set(chosen.specimen[on_axis]) == {f"{material}-filled-test0-0"}


def test_other_settings_of_the_microscope_show_the_same_specimens_of_seen_materials(tested):
    """Defocus changes the images and a larger source blurs them; the potential stays. They come after all others."""
    changed = tested.setting != ""
    assert set(tested.setting) == {"", "defocus_a=50", "source_size_a=0.5"}
    assert changed.tolist() == sorted(changed) and "GaN" not in tested.material[changed]
    for setting in ("defocus_a=50", "source_size_a=0.5"):
        samples = tested.under(setting)
        for row in range(len(samples)):
            same = (tested.specimen == samples.specimen[row]) & ~changed
            usual = tested.rows(same & (tested.thickness_nm == samples.thickness_nm[row]))
            assert np.allclose(usual.potential[0], samples.potential[row], rtol=1e-4, atol=1)
            before, after = usual.images[RING][0], samples.images[RING][row]
            assert abs(before - after).max() > 0.01 * before.mean()
            assert "defocus" in setting or after.std() < 0.9 * before.std()


def test_a_source_is_the_convolution_that_the_computation_makes():
    """The training's source replaced afterwards or taken from the start: the same image."""
    scope = small().microscope.model_dump()
    with_large = make_samples(small(microscope=scope | {"source_size_a": 0.5}), "test", 0, CPU).under("")
    replaced = make_samples(small(), "test", 0, CPU).under("source_size_a=0.5")
    rows = [
        np.flatnonzero((with_large.specimen == name) & (with_large.thickness_nm == thickness_nm))[0]
        for name, thickness_nm in zip(replaced.specimen, replaced.thickness_nm, strict=True)
    ]
    assert np.allclose(with_large.images[RING][rows], replaced.images[RING], atol=1e-5)


def test_a_tilted_patch_is_summed_along_the_beam_as_a_filled_crystal_is():
    """The same signs: the first patch, made again by hand, has its projected atoms where the potential peaks."""
    settings = small(materials=("SrTiO3", "GaN"), tilt_std_deg=1.5, zone_axis_share=0.0)
    samples = make_samples(settings, "train", 0, CPU)
    for kind in (FILLED, PATCH):
        chosen = samples.rows((samples.kind == kind) & (samples.material == "SrTiO3"))
        thin, thick = chosen.potential[:2]
        # Deeper slices lie at −t z: what the second half of the thickness adds is the first half, displaced
        added = thick - thin
        tilt = np.radians(chosen.rotation_deg[0, 1:]) * 10 * (chosen.thickness_nm[1] - chosen.thickness_nm[0])
        spectra = np.fft.fft2(thin), np.fft.fft2(added)
        best, at = -np.inf, None
        frequency = np.fft.fftfreq(32, 0.25)
        cross = (spectra[0].conj() * spectra[1]) * (np.hypot(frequency[:, None], frequency) > 0.2)
        for y in np.arange(-1.5, 1.51, 0.1):
            for x in np.arange(-1.5, 1.51, 0.1):
                turn = np.exp(2j * np.pi * (frequency[:, None] * y + frequency * x))
                value = (cross * turn).sum().real
                if value > best:
                    best, at = value, (y, x)
        assert at == pytest.approx(tuple(-tilt), abs=0.25)


def test_files_are_read_as_they_were_written(training, tmp_path):
    path = tmp_path / "shard0.npz"
    write_arrays(path, training.arrays())
    assert digests(read_samples([path])) == digests(training)
    assert len(read_samples([path, path])) == 2 * len(training)
    stored = read_samples([path, path], in_files=True)
    assert digests(stored.rows(np.arange(len(training)))) == digests(training)
    assert digests(stored.rows(np.arange(2 * len(training)) >= len(training))) == digests(training)


def test_files_that_do_not_fit_each_other_are_refused(training, tmp_path):
    first, other = tmp_path / "shard0.npz", tmp_path / "shard1.npz"
    arrays = training.arrays()
    write_arrays(first, arrays)
    smaller = {name: array[..., :-2] if array.ndim > 2 else array for name, array in arrays.items()}
    for changed in (smaller, arrays | {"voltage_kv": np.float64(300)}):
        write_arrays(other, changed)
        for in_files in (False, True):
            with pytest.raises(InputError, match=r"shard1\.npz was made for another microscope or size"):
                read_samples([first, other], in_files=in_files)


def test_a_detector_that_the_pixels_do_not_carry_is_named():
    settings = small(multislice={**small().multislice.model_dump(), "pixel_a": 0.4})
    with pytest.raises(InputError, match=r"potential\.synthesize: the detector reaches 40\.0 mrad"):
        make_samples(settings, "train", 0, CPU)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"test_thickness_nm": (4.0, 2.0)}, "test_thickness_nm must be in ascending order"),
        ({"test_thickness_nm": (3.0, 4.0)}, r"conditions\.thickness_nm must be one of test_thickness_nm, not 2"),
    ],
)
def test_settings_of_the_test_that_contradict_each_other_are_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        small(**changed)


def test_a_file_without_the_size_of_its_cells_is_refused(training, tmp_path):
    path = tmp_path / "shard0.npz"
    write_arrays(path, training.arrays() | {"cell": training.cell_a[:, 0]})
    with pytest.raises(InputError, match=r"cell is \(24,\), but must be \(24, 2\)"):
        read_samples([path])


def test_thicknesses_that_round_to_one_slice_pass_different_ones():
    crystal = structures.crystal("SrTiO3")
    sampling = small().multislice
    computed = specimens.compute(
        crystal, Probe(200.0, 20.0), [Detector(0.0, 20.0, 4)], [2.0, 2.01], sampling, torch.Generator(), CPU
    )
    assert computed.thickness_nm[1] > computed.thickness_nm[0]
