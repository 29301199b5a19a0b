"""Images agree with those of abTEM 1.0.11, which make_scan_oracle.py keeps in abtem_scans.npz."""

from pathlib import Path

import numpy as np
import pytest
import torch

from workflow_scripts.optics.detectors import Detector
from workflow_scripts.optics.multislice import transmission
from workflow_scripts.optics.plane_waves import Field, Probe, Specimen, images
from workflow_scripts.optics.potential import projected_slices

SAME_SLICES, OWN_POTENTIAL = 1e-3, 1e-2  # of the maximum; measured: 1e-7 and 4e-3
RING, DISC = Detector(10.0, 50.0, 4), Detector(0.0, 20.0, 4)
FIELD = Field((72, 80), 0.15)


@pytest.fixture(scope="module")
def oracle():
    with np.load(Path(__file__).with_name("abtem_scans.npz"), allow_pickle=False) as found:
        return {name: found[name] for name in found.files}


def off(ours, theirs):
    """Largest difference as a share of the largest of theirs, for the worse of both thicknesses."""
    return float(((ours - theirs).abs().amax((1, 2)) / theirs.amax((1, 2))).max())


def scanned(oracle, slices, probe, detector=RING, field=FIELD):
    """(2 thicknesses, 4, 102) at abTEM's positions."""
    voltage, slice_a = float(oracle["voltage_kv"]), float(oracle["slice_a"])
    waves = transmission(slices.double(), field.pixel_size_a, voltage)
    specimen = Specimen(waves, [slice_a] * len(slices), [len(slices) * int(n) for n in oracle["repeats"]])
    positions = torch.from_numpy(np.concatenate([oracle["raster_a"], oracle["loose_a"]]))
    return images(specimen, field, probe, [detector]).at(positions)


def theirs(oracle, name):
    return torch.from_numpy(oracle[f"images_{name}"]).double()


@pytest.mark.parametrize("semiangle_mrad", [10, 20, 30])
@pytest.mark.parametrize("way", ["", "smatrix_"])
def test_semiangles_and_thicknesses(oracle, semiangle_mrad, way):
    ours = scanned(oracle, torch.from_numpy(oracle["period_v_a"]), Probe(200.0, semiangle_mrad))
    assert off(ours, theirs(oracle, f"{way}{semiangle_mrad}")) < SAME_SLICES


def test_disc_in_quarters(oracle):
    ours = scanned(oracle, torch.from_numpy(oracle["period_v_a"]), Probe(200.0, 20.0), DISC)
    assert off(ours, theirs(oracle, "20_disc")) < SAME_SLICES


def test_aberrations(oracle):
    probe = Probe(200.0, 20.0, float(oracle["defocus_a"]), float(oracle["cs_mm"]))
    assert (
        off(scanned(oracle, torch.from_numpy(oracle["period_v_a"]), probe), theirs(oracle, "20_aberrated"))
        < SAME_SLICES
    )


def test_tilt(oracle):
    probe = Probe(200.0, 20.0, tilt_mrad=tuple(oracle["tilt_mrad"]))
    assert (
        off(scanned(oracle, torch.from_numpy(oracle["period_v_a"]), probe), theirs(oracle, "20_tilted")) < SAME_SLICES
    )


def test_crystal_by_classes_of_beams_on_rectangular_pixels(oracle):
    """abTEM computed the whole field of view, ours one cell."""
    cell = torch.from_numpy(oracle["crystal_v_a"])
    field = Field(tuple(cell.shape[1:]), tuple(oracle["crystal_pixel_size_a"]), tuple(oracle["crystal_tiles"].tolist()))
    assert off(scanned(oracle, cell, Probe(200.0, 20.0), field=field), theirs(oracle, "20_crystal")) < SAME_SLICES


@pytest.mark.parametrize("projection", ["infinite", "finite"])
def test_from_atoms_alone(oracle, projection):
    period_a, pixel = float(oracle["cell_a"][0]), float(oracle["pixel_size_a"])
    boundaries = [0.0, period_a / 2, period_a]
    atoms = (oracle["symbols"].tolist(), torch.from_numpy(oracle["positions_a"]))
    slices = projected_slices(*atoms, boundaries, FIELD.shape, pixel, 0.5 / pixel)
    assert off(scanned(oracle, slices, Probe(200.0, 20.0)), theirs(oracle, f"20_{projection}")) < OWN_POTENTIAL


@pytest.mark.parametrize(("name", "detector"), [("10_50", RING), ("0_20", DISC), ("crystal", RING)])
def test_segments_pixel_by_pixel(oracle, name, detector):
    theirs = torch.from_numpy(oracle[f"segments_{name}"]).long()
    pixels = oracle["crystal_pixel_size_a"] if name == "crystal" else [float(oracle["pixel_size_a"])] * 2
    axes = [torch.fft.fftfreq(n, float(a), dtype=torch.float64) for n, a in zip(theirs.shape, pixels, strict=True)]
    masks = detector.masks(torch.cartesian_prod(*axes), float(oracle["voltage_kv"]))
    ours = torch.where(masks.any(0), masks.int().argmax(0), -1)
    assert torch.equal(ours.reshape(theirs.shape), theirs)


@pytest.mark.parametrize(
    "name",
    ["10", "30", "20_disc", "20_soft", "20_aberrated", "20_tilted", "20_crystal"],
    ids=lambda name: f"not {name}",
)
def test_the_cases_differ(oracle, name):
    """Control: what makes each case special shows by far more than the tolerance, and so do both thicknesses."""
    assert off(theirs(oracle, "20"), theirs(oracle, name)) > 10 * SAME_SLICES
    both = theirs(oracle, name)
    assert off(both, both.flip(0)) > 10 * SAME_SLICES


@pytest.mark.parametrize("wrong", [{"tilt_mrad": (-3.0, 5.0)}, {"tilt_mrad": (-5.0, 3.0)}])
def test_a_wrong_tilt_shows(oracle, wrong):
    """Control: its sign and the order of its axes."""
    ours = scanned(oracle, torch.from_numpy(oracle["period_v_a"]), Probe(200.0, 20.0, **wrong))
    assert off(ours, theirs(oracle, "20_tilted")) > 0.1
