"""Agreement with abTEM 1.0.11, whose numbers make_oracle.py keeps in abtem_structure_factors.npz.

Both sides take Kirkland's scattering factors in Å and Debye–Waller factors exp(−B |g|² / 4). Structure factors are in
Å, of electrons at rest, reciprocal vectors and excitation errors in 1/Å without 2π, intensities shares of the incident
beam.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.matching.crystals import BUILT_IN, crystal
from workflow_scripts.matching.settings import DiffractionSettings
from workflow_scripts.matching.simulation.bloch import BlochSimulator
from workflow_scripts.matching.simulation.kinematic import Simulator
from workflow_scripts.matching.simulation.structure_factors import structure_factors

TOLERANCE = 1e-3  # of the largest; measured: 4e-7 for structure factors, 1.3e-4 for two beams


@pytest.fixture(scope="module")
def oracle():
    with np.load(Path(__file__).with_name("abtem_structure_factors.npz"), allow_pickle=False) as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


def by_index(hkl):
    return {tuple(row): i for i, row in enumerate(hkl.tolist())}


@pytest.mark.parametrize("name", BUILT_IN)
def test_structure_factors(oracle, name):
    """Complex, so that positions and origins agree too."""
    ours = structure_factors(crystal(name), float(oracle["largest_per_a"]))
    theirs = oracle[f"{name}.structure_factor"].to(torch.complex128)
    place = by_index(ours.hkl)
    rows_of_spots = [i for i, hkl in enumerate(oracle[f"{name}.hkl"].tolist()) if any(hkl)]
    assert len(rows_of_spots) == len(ours.hkl)
    rows = [place[tuple(hkl)] for hkl in oracle[f"{name}.hkl"][rows_of_spots].tolist()]
    off = (ours.structure_factor_a[rows] - theirs[rows_of_spots]).abs().max() / theirs[rows_of_spots].abs().max()
    assert float(off) < TOLERANCE


def light(oracle, **changes):
    options = {"side_px": 256, "pixel_size_per_a": 0.01, "spot_px": 1.0, "thickness_nm": float(oracle["thin_a"]) / 10}
    return DiffractionSettings(voltage_kv=float(oracle["voltage_kv"]), **(options | changes))


def simulated(oracle, name):
    simulator = Simulator(crystal(name), light(oracle))
    return simulator, simulator.spots(oracle["rotation"][None])


@pytest.mark.parametrize("name", BUILT_IN)
def test_spots_lie_where_abtem_has_them(oracle, name):
    """Transverse parts of the reciprocal vectors, to 1e-4 of a detector pixel of 0.01 1/Å."""
    _, spots = simulated(oracle, name)
    ours = spots.position_per_a[0][spots.intensity[0] > 0]
    intensity = oracle[f"{name}.intensity"]
    strong = (intensity > 1e-3 * intensity.sort().values[-2]) & oracle[f"{name}.beam_hkl"].bool().any(dim=1)
    assert int(strong.sum()) > 5
    theirs = oracle[f"{name}.beam_g_per_a"][strong][:, [1, 0]]
    assert float(torch.cdist(theirs, ours.double()).amin(dim=1).max()) < 1e-6


@pytest.mark.parametrize("name", BUILT_IN)
def test_excitation_errors(oracle, name):
    """abTEM's is to first order in λ s: of (k + g_z + s)² + g_x² + g_y² = k² it leaves out 2 g_z s + s²."""
    simulator, _ = simulated(oracle, name)
    g = oracle[f"{name}.beam_g_per_a"]
    theirs = oracle[f"{name}.excitation_error_per_a"]
    ours = simulator.excitation_error_per_a(g[:, 2], g.square().sum(dim=1))
    left_out = simulator.wavelength_a / 2 * (2 * g[:, 2] * ours + ours.square())
    assert float((ours - theirs).abs().max()) < 2 * TOLERANCE * float(theirs.abs().max())
    assert float((ours + left_out - theirs).abs().max()) < 1e-5 * float(theirs.abs().max())


def intensity_off(oracle, name, spots):
    """Summed differences of the intensities from abTEM's, share of the diffracted electrons."""
    theirs = oracle[f"{name}.intensity"].double()
    beams = oracle[f"{name}.beam_hkl"].bool().any(dim=1)
    away = torch.cdist(oracle[f"{name}.beam_g_per_a"][beams][:, [1, 0]], spots.position_per_a[0].double())
    # Spots that ours leaves out are too weak to count.
    ours = torch.where(away.amin(dim=1) < 1e-4, spots.intensity[0].double()[away.argmin(dim=1)], 0)
    return float((ours - theirs[beams]).abs().sum() / theirs[beams].sum())


@pytest.mark.parametrize("name", BUILT_IN)
def test_intensities_of_a_thin_crystal(oracle, name):
    """Absolute: at 1 nm Bloch waves are nearly kinematic; the difference is multiple scattering."""
    _, spots = simulated(oracle, name)
    assert intensity_off(oracle, name, spots) < {"polyethylene": 0.01, "silicon": 0.03, "sodium_chloride": 0.03}[name]


@pytest.mark.parametrize("name", ["silicon", "sodium_chloride"])
def test_bloch_waves_of_a_thin_crystal(oracle, name):
    kinematic_off = intensity_off(oracle, name, simulated(oracle, name)[1])
    waves = BlochSimulator(crystal(name), light(oracle), beams=200)
    assert intensity_off(oracle, name, waves.spots(oracle["rotation"][None])) < 0.75 * kinematic_off


def test_two_beams_over_thickness(oracle):
    """(200) of NaCl alone with the incident beam, at its Bragg condition and off it, beyond one extinction distance."""
    thickness_a, intensity = oracle["two_beam.thickness_a"], oracle["two_beam.intensity"].double()
    waves = BlochSimulator(crystal("sodium_chloride"), light(oracle), beams=2)
    kinematic = Simulator(crystal("sodium_chloride"), light(oracle))
    for rotation, theirs in zip(oracle["two_beam.rotation"], intensity, strict=True):
        rotations = rotation.expand(len(thickness_a), 3, 3)
        ours = waves.spots(rotations, thickness_a / 10).intensity[:, 0].double()
        assert float(theirs.max()) > 0.4 and float((ours - theirs).abs().max()) < TOLERANCE
    # control: without the dynamical part more comes out than went in
    assert float(kinematic.spots(oracle["two_beam.rotation"][:1], thickness_a[-1:] / 10).intensity.max()) > 1
