"""Training and test files: what they hold, that they repeat, and how a bad probe is refused."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.diffractive_imaging import settings
from workflow_scripts.diffractive_imaging.simulation import datasets, forward
from workflow_scripts.diffractive_imaging.simulation.sources import photographs
from workflow_scripts.optics.diffraction import diffraction_pattern
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import write_arrays


@pytest.fixture(scope="module")
def light():
    synthesize = settings.synthesize()
    return datasets.illumination(synthesize.probe, synthesize.dose_e, None)


def make_training(light, seed=0, **changes):
    files = [photographs(None, split)[:2] for split in ("train", "validation")]
    return datasets.training_set(settings.synthesize(**changes), light, *files, np.random.default_rng(seed))


def test_training_and_validation_share_no_photograph(light):
    arrays = make_training(light, samples_per_shard=64)
    assert arrays["phase_rad"].shape == arrays["counts"].shape == (64, 32, 32)
    sides = [
        set(arrays["source_names"][arrays["source"][side]]) - set(datasets.SYNTHETIC)
        for side in (arrays["validation"], ~arrays["validation"])
    ]
    assert all(sides)
    assert not sides[0] & sides[1]


def test_the_same_seed_gives_the_same_arrays_and_another_seed_others(light):
    first, repeated, different = (make_training(light, seed, samples_per_shard=32) for seed in (1, 1, 2))
    assert all(np.array_equal(first[name], repeated[name]) for name in first)
    assert not np.array_equal(first["phase_rad"], different["phase_rad"])


def test_counts_have_the_dose_and_the_pattern_of_their_phase(light):
    arrays = make_training(light, samples_per_shard=64)
    electrons = arrays["counts"].sum(axis=(1, 2))
    assert abs(electrons.mean() / light.dose_e - 1) < 0.005
    expected = light.dose_e * diffraction_pattern(light.probe, torch.from_numpy(arrays["phase_rad"]).double()).numpy()
    bright = expected > 10
    chi_square = ((arrays["counts"] - expected) ** 2 / expected)[bright].mean()
    assert abs(chi_square - 1) < 0.05


def test_the_shares_of_the_mixture_are_those_of_the_settings(light):
    arrays = make_training(light, samples_per_shard=100, dead_leaves_share=1.0, one_over_f_share=0.0)
    assert set(arrays["source_names"][arrays["source"]]) == {"dead leaves"}


def test_a_transposed_detector_records_transposed_patterns(light):
    arrays = {}
    for transposed in (False, True):
        smoke = settings.synthesize().scan.model_dump(mode="json")
        scan = smoke | {"points": 16, "crystals": ["hbn"], "detector_transposed": transposed}
        changed = settings.synthesize(scan=scan)
        arrays[transposed] = datasets.test_set(changed, light, photographs(None, "test"), np.random.default_rng(0))
    for name in arrays[True]["scans"]:
        assert np.array_equal(arrays[True][f"{name}.counts"], arrays[False][f"{name}.counts"].transpose(0, 1, 3, 2))
    assert np.array_equal(arrays[True]["counts"], arrays[False]["counts"])


@given(st.integers(2, 20), st.floats(0.2, 2), st.floats(0, 0.5), st.floats(0, 20), st.integers(0, 5))
def test_an_object_holds_the_margin_around_every_position(points, step, jitter, margin, seed):
    positions, side = datasets.raster(points, step, jitter, margin, np.random.default_rng(seed))
    assert positions.shape == (points**2, 2)
    assert (positions >= margin - 1e-9).all()
    assert (positions <= side - 1 - margin + 1e-9).all()


def test_an_illumination_reads_back(light, tmp_path):
    write_arrays(tmp_path / "a.npz", light.arrays())
    read = datasets.Illumination.read(tmp_path / "a.npz")
    assert torch.equal(read.probe, light.probe)
    assert (read.pixel_size_a, read.dose_e) == (light.pixel_size_a, light.dose_e)


def test_a_probe_from_a_file_is_the_wave_normalised(tmp_path, light):
    np.save(tmp_path / "probe.npy", 7 * light.probe.numpy())
    read = datasets.illumination(settings.synthesize().probe, 100.0, tmp_path / "probe.npy")
    assert torch.allclose(read.probe, light.probe)
    assert forward.patch_mask(read.probe).equal(forward.patch_mask(light.probe))


BAD_PROBES = {
    "another size": np.ones((16, 16), complex),
    "a stack": np.ones((2, 32, 32), complex),
    "an intensity": np.ones((32, 32)),
    "not finite": np.full((32, 32), np.nan, complex),
    "zero": np.zeros((32, 32), complex),
    "no numbers": np.full((32, 32), "a"),
}


@pytest.mark.parametrize("kind", BAD_PROBES)
def test_a_bad_probe_is_one_sentence_that_names_the_file(tmp_path, kind):
    np.save(tmp_path / "probe.npy", BAD_PROBES[kind])
    with pytest.raises(InputError, match=r"probe\.npy") as caught:
        datasets.illumination(settings.synthesize().probe, 100.0, tmp_path / "probe.npy")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["off the centre", "the aperture", "far out of focus"])
def test_a_probe_whose_patch_is_dark_is_refused(tmp_path, light, kind):
    probe, file = settings.synthesize().probe, tmp_path / "probe.npy"
    wave = light.probe.numpy()
    np.save(file, np.fft.ifftshift(wave) if kind == "off the centre" else np.fft.fftshift(np.fft.fft2(wave)))
    if kind == "far out of focus":
        probe, file = probe.model_copy(update={"defocus_a": 400.0}), None
    with pytest.raises(InputError, match="of the electrons fall on the patch"):
        datasets.illumination(probe, 100.0, file)


def test_a_probe_file_that_is_no_array_or_holds_objects_is_refused(tmp_path):
    path = tmp_path / "probe.npy"
    for content in (b"", b"not an array", None):
        if content is None:
            np.save(path, np.array([{"an": "object"}], dtype=object), allow_pickle=True)
        else:
            path.write_bytes(content)
        with pytest.raises(InputError, match=r"probe\.npy"):
            datasets.illumination(settings.synthesize().probe, 100.0, path)


def test_a_scan_is_counted_at_every_dose_and_read_back_by_it(light, tmp_path):
    arrays = datasets.test_set(
        settings.synthesize(test_dose_e=[light.dose_e, 300.0]),
        light,
        photographs(None, "test"),
        np.random.default_rng(0),
    )
    write_arrays(tmp_path / "a.npz", arrays)
    for dose in (light.dose_e, 300.0):
        scan = datasets.read_scan(tmp_path / "a.npz", datasets.STEP_EDGE, dose)
        assert scan.counts.shape == (24**2, 32, 32)
        assert scan.counts.sum(dim=(1, 2)).mean() == pytest.approx(dose, rel=0.01)
    with pytest.raises(InputError, match="300"):
        datasets.read_scan(tmp_path / "a.npz", datasets.STEP_EDGE, 301.0)


def test_the_full_dose_must_be_among_the_doses_of_the_test_set():
    with pytest.raises(InputError, match="dose_e"):
        settings.synthesize(test_dose_e=[300.0])
