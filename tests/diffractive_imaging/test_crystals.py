"""Boron nitride under the probe: its structure, its phase, its patterns, and their place in files and metrics."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase.neighborlist import neighbor_list

from tests.diffractive_imaging import settings
from workflow_scripts.diffractive_imaging.evaluation import comparison, metrics
from workflow_scripts.diffractive_imaging.networks.stitching import to_object_pixels
from workflow_scripts.diffractive_imaging.simulation import crystals, datasets, forward
from workflow_scripts.diffractive_imaging.simulation.sources import photographs
from workflow_scripts.optics.diffraction import diffraction_pattern
from workflow_scripts.workflow.files import write_arrays

LATTICE_A = crystals.LATTICES_A["BN"]
BOND_A = LATTICE_A / 3**0.5
SIDE = 52


@pytest.fixture(scope="module")
def light():
    synthesize = settings.synthesize()
    return datasets.illumination(synthesize.probe, synthesize.dose_e, None)


@pytest.fixture(scope="module", params=["hbn", "hbn_twisted"])
def crystal(request, light):
    return crystals.build(request.param, SIDE, light.pixel_size_a, 80.0, 6.0)


@pytest.fixture(scope="module")
def positions():
    """Real-valued places, far enough from the border."""
    return torch.from_numpy(np.random.default_rng(0).uniform(19, SIDE - 20, (48, 2)))


def projection_approximation(light, crystal, positions):
    windows = forward.window_at(crystal.phase_rad.double(), positions, light.n, forward.UPSAMPLING)
    return diffraction_pattern(light.probe, windows)


def vacuum(light):
    return diffraction_pattern(light.probe, torch.zeros(light.n, light.n, dtype=torch.float64))


@pytest.mark.parametrize("angles_deg", [(7.0,), (7.0, 73.0)])
def test_every_layer_is_a_honeycomb_of_two_elements(angles_deg):
    side_a = 25.0
    atoms = crystals.sheets(angles_deg, side_a)
    per_area = 4 / (3**0.5 * LATTICE_A**2)
    assert len(atoms) == pytest.approx(len(angles_deg) * per_area * side_a**2, rel=0.03)
    first, second, distance = neighbor_list("ijd", atoms, 1.2 * BOND_A)
    assert np.allclose(distance, BOND_A)
    symbols = np.array(atoms.get_chemical_symbols())
    assert (symbols[first] != symbols[second]).all()
    inner = (np.abs(atoms.positions[:, :2] - side_a / 2) < side_a / 2 - 2 * BOND_A).all(axis=1)
    assert (np.bincount(first, minlength=len(atoms))[inner] == 3).all()


def test_without_twist_boron_lies_over_nitrogen_as_in_the_bulk():
    atoms = crystals.sheets((7.0, 67.0), 20.0)
    symbols, positions = np.array(atoms.get_chemical_symbols()), atoms.positions
    lower, upper = positions[:, 2] < 1, positions[:, 2] > 1
    assert np.allclose(positions[upper, 2], crystals.LAYER_DISTANCE_A)
    between = np.linalg.norm(positions[upper][:, None, :2] - positions[lower][None, :, :2], axis=2)
    nearest = between.argmin(axis=1)
    inner = (np.abs(positions[upper][:, :2] - 10) < 8).all(axis=1)
    assert between.min(axis=1)[inner].max() < 1e-6
    assert (symbols[upper] != symbols[lower][nearest])[inner].all()


def test_a_twist_rotates_the_second_layer_about_the_middle():
    plain, twisted = (crystals.sheets((0.0, angle), 30.0) for angle in (60.0, 66.0))
    second = [atoms[atoms.positions[:, 2] > 1] for atoms in (plain, twisted)]
    second[0].positions -= [15, 15, 0]
    second[0].rotate(6.0, "z")
    second[0].positions += [15, 15, 0]
    central = [atoms.positions[np.linalg.norm(atoms.positions[:, :2] - 15, axis=1) < 8] for atoms in second]
    assert len(central[0]) == len(central[1])
    assert np.linalg.norm(central[0][:, None] - central[1][None], axis=2).min(axis=1).max() < 1e-6


@pytest.mark.parametrize(("formula", "ratio"), [("C2", 1), ("MoS2", 2)])
def test_other_sheets_have_their_lattice_and_lie_in_one_slice(formula, ratio):
    atoms = crystals.sheets((7.0,), 30.0, formula)
    numbers = atoms.get_atomic_numbers()
    heavy = atoms[numbers == numbers.max()]
    distances = neighbor_list("d", heavy, 1.1 * crystals.LATTICES_A[formula])
    assert distances.max() == pytest.approx(crystals.LATTICES_A[formula], rel=1e-3)
    if ratio == 2:
        assert len(atoms) == pytest.approx(3 * len(heavy), rel=0.05)
    assert np.abs(atoms.positions[:, 2]).max() < crystals.LAYER_DISTANCE_A / 2


def test_molecules_are_whole_turned_and_apart():
    atoms = crystals.molecules(32.0)
    assert len(atoms) == 9 * 60
    balls = atoms.positions.reshape(9, 60, 3)
    centres = balls.mean(axis=1)
    assert np.allclose(np.linalg.norm(balls - centres[:, None], axis=2), 3.55, atol=0.1)
    assert np.allclose(centres[4], [16, 16, crystals.LAYER_DISTANCE_A])
    assert not np.allclose(balls[0] - centres[0], balls[1] - centres[1], atol=0.1)
    between = np.linalg.norm(balls[0][:, None] - balls[1][None], axis=2)
    assert between.min() > 2.5


def test_molecules_scatter_as_one_phase_in_three_slices(light):
    crystal = crystals.build("fullerenes", SIDE, light.pixel_size_a, 80.0, 6.0)
    assert len(crystal.slices) == 3
    assert 0.05 < float(crystal.phase_rad.std()) < 0.15


def spectrum(image):
    """Power of the object pixels under a Hann window, and the frequency in cycles per pixel."""
    window = torch.hann_window(len(image), dtype=torch.float64)
    centred = (image - image.mean()).double() * window * window[:, None]
    frequency = torch.fft.fftfreq(len(image), dtype=torch.float64)
    return torch.fft.fft2(centred).abs().square(), torch.hypot(frequency[:, None], frequency)


def test_the_phase_is_weak_and_has_no_power_beyond_ten_pixels(crystal, light):
    """One layer: 0.036 rad on object pixels that average. Two: between that of unrelated layers and of equal ones, for
    the field is smaller than a period of the moiré."""
    on_pixels = float(to_object_pixels(crystal.phase_rad, forward.UPSAMPLING)[2:-2, 2:-2].std())
    if len(crystal.slices) == 1:
        assert on_pixels == pytest.approx(0.036, rel=0.05)
    else:
        assert 0.036 * 2**0.5 < on_pixels < 0.036 * 2
    power, frequency = spectrum(crystal.phase_rad[:: forward.UPSAMPLING, :: forward.UPSAMPLING])
    assert power[frequency < 0.09].sum() < 1e-3 * power.sum()
    first_order = light.pixel_size_a / (LATTICE_A * 3**0.5 / 2)
    strongest = frequency.ravel()[power.argmax()]
    assert float(strongest) == pytest.approx(first_order, abs=1.5 / SIDE)


def test_object_pixels_hold_the_truth(crystal):
    """Nothing beyond the Nyquist frequency of object pixels, so that sampling them folds nothing back."""
    power, frequency = spectrum(crystal.phase_rad)
    assert power[frequency > 1.05 * 0.5 / forward.UPSAMPLING].sum() < 1e-4 * power.sum()


def test_without_a_crystal_the_pattern_is_the_probes(light, positions):
    crystal = crystals.build("hbn_twisted", SIDE, light.pixel_size_a, 80.0, 6.0)
    empty = replace(crystal, slices=torch.ones_like(crystal.slices))
    patterns = crystals.patterns(light.probe, empty, positions)
    assert torch.allclose(patterns.double(), vacuum(light).expand_as(patterns), atol=1e-7)


def misfit(light, crystal, positions, counted_at):
    """What the phase object at some positions leaves unexplained of the patterns at others, as share of the signal."""
    exact = crystals.patterns(light.probe, crystal, counted_at).double()
    approximate = projection_approximation(light, crystal, positions)
    return float((exact - approximate).norm() / (exact - vacuum(light)).norm())


def test_the_phase_object_is_a_fair_approximation_at_real_valued_positions(crystal, light, positions):
    best = misfit(light, crystal, positions, positions)
    assert best < {1: 0.06, 2: 0.12}[len(crystal.slices)]
    for dy, dx in ((0.05, 0), (-0.05, 0), (0, 0.05), (0, -0.05)):
        moved = positions + torch.tensor([dy, dx], dtype=torch.float64)
        assert misfit(light, crystal, moved, positions) > 1.1 * best
    assert misfit(light, crystal, positions.flip(1), positions) > 0.8


def test_what_the_phase_object_misses_most_of_two_layers_is_the_way_between_them(light, positions):
    two = crystals.build("hbn_twisted", SIDE, light.pixel_size_a, 80.0, 6.0)
    flat = replace(two, slices=two.slices.prod(dim=0, keepdim=True))
    assert misfit(light, flat, positions, positions) < 0.7 * misfit(light, two, positions, positions)


def test_few_electrons_miss_the_detector(crystal, light, positions):
    share = crystals.patterns(light.probe, crystal, positions).sum((1, 2))
    assert (share < 1).all() and (share > 0.998).all()


def test_a_finer_grid_changes_less_than_two_percent(light, positions, monkeypatch):
    by_upsampling = {}
    for upsampling in (crystals.MULTISLICE_UPSAMPLING, 6):
        monkeypatch.setattr(crystals, "MULTISLICE_UPSAMPLING", upsampling)
        crystal = crystals.build("hbn_twisted", SIDE, light.pixel_size_a, 80.0, 6.0)
        by_upsampling[upsampling] = crystals.patterns(light.probe, crystal, positions[:16]).double()
    coarse, fine = by_upsampling.values()
    assert (coarse - fine).norm() < 0.02 * (fine - vacuum(light)).norm()


def test_counts_have_the_dose_and_repeat_with_the_seed(crystal, light, positions):
    first, repeated = (
        crystals.simulate_scan(light.probe, crystal, positions, 1000.0, torch.Generator().manual_seed(3))
        for _ in range(2)
    )
    assert torch.equal(first, repeated)
    assert float(first.sum((1, 2)).mean()) == pytest.approx(1000, abs=30)


def test_a_window_that_leaves_the_crystal_is_refused(crystal, light):
    with pytest.raises(ValueError, match="leaves the crystal"):
        crystals.patterns(light.probe, crystal, torch.tensor([[25.0, 14.0]], dtype=torch.float64))


def test_crystals_stand_beside_the_other_scans_in_file_and_metrics(light, tmp_path):
    scan = settings.synthesize().scan.model_dump(mode="json") | {"points": 16}
    by_number = {}
    for names in ([], ["hbn", "hbn_twisted"]):
        changed = settings.synthesize(scan=scan | {"crystals": names})
        by_number[len(names)] = datasets.test_set(changed, light, photographs(None, "test"), np.random.default_rng(0))
    without, arrays = by_number.values()
    assert arrays["scans"].tolist() == [*without["scans"].tolist(), "hbn", "hbn_twisted"]
    assert all(np.array_equal(without[name], arrays[name]) for name in without if name not in ("scans", "scan_objects"))
    fine = arrays["hbn.phase_rad"]
    assert fine.dtype == np.float32 and fine.shape == arrays["step_edge.phase_rad"].shape
    assert arrays["hbn.counts"].shape == (1, 256, 32, 32)

    write_arrays(tmp_path / "test.npz", arrays)
    truth = comparison.read_truth(tmp_path / "test.npz")
    rows = metrics.metric_rows(truth, [comparison.predict_zeros(truth)], settings.evaluate())
    errors = {row["condition"]: float(row["value"]) for row in rows if row["metric"] == "phase_rmse_rad_meanfree"}
    assert errors["dose_e=27882;object=hbn"] == pytest.approx(0.037, abs=0.002)
    assert errors["dose_e=27882;object=hbn_twisted"] > 1.2 * errors["dose_e=27882;object=hbn"]
    # The row of the photographs averages only photographs.
    assert errors["dose_e=27882;object=photograph;phase_std_rad=0.5"] == pytest.approx(0.5, rel=0.3)
