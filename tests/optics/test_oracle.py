"""Agreement with abTEM 1.0.11, whose numbers make_oracle.py keeps in abtem_oracle.npz."""

from pathlib import Path

import numpy as np
import pytest
import torch

from workflow_scripts.optics.multislice import multislice, propagate, transmission
from workflow_scripts.optics.potential import projected_slices
from workflow_scripts.optics.waves import interaction_parameter

TOLERANCE = 1e-3  # of the maximum; measured: 4e-7 for waves, 8e-7 for patterns, 7e-8 for the potential


@pytest.fixture(scope="module")
def oracle():
    with np.load(Path(__file__).with_name("abtem_oracle.npz"), allow_pickle=False) as found:
        return {name: found[name] for name in found.files}


def off(ours, theirs):
    """Largest difference as a share of the largest of theirs."""
    return float((ours - theirs).abs().max() / theirs.abs().max())


def exit_waves(oracle, potential):
    """Ours from abTEM's incident waves; abTEM leaves the last slice at its lower face."""
    pixel, voltage, thickness = (float(oracle[name]) for name in ("pixel_size_a", "voltage_kv", "slice_a"))
    slices = list(transmission(potential, pixel, voltage))
    incident = torch.from_numpy(oracle["incident"]).to(torch.complex128)
    through = multislice(incident, slices, [thickness] * (len(slices) - 1), pixel, voltage)
    return propagate(through, thickness, pixel, voltage)


def test_interaction_parameter(oracle):
    ours = interaction_parameter(float(oracle["voltage_kv"]))
    assert ours == pytest.approx(float(oracle["interaction_parameter"]), rel=1e-6)


def test_exit_waves_and_patterns_from_the_same_slices(oracle):
    potential = torch.from_numpy(oracle["potential"]).double()
    ours, theirs = exit_waves(oracle, potential), torch.from_numpy(oracle["exit_waves"]).to(torch.complex128)
    assert off(ours, theirs) < TOLERANCE
    assert off(*(torch.fft.fft2(wave).abs().square() for wave in (ours, theirs))) < TOLERANCE


def test_the_object_is_thick_enough_to_tell(oracle):
    """Control: without propagation between the slices the same comparison fails by far."""
    together = torch.from_numpy(oracle["potential"]).double().sum(0, keepdim=True)
    theirs = torch.from_numpy(oracle["exit_waves"]).to(torch.complex128)
    assert off(exit_waves(oracle, together), theirs) > 0.1


def test_potential(oracle):
    """abTEM divides its spectrum by sin(k)/k, k in cycles per pixel, to make up for its interpolation of atoms between
    pixels; the atoms lie on pixels, so it is undone here."""
    theirs = torch.from_numpy(oracle["potential"]).double()
    pixel, thickness = float(oracle["pixel_size_a"]), float(oracle["slice_a"])
    y, x = (torch.fft.fftfreq(n, dtype=torch.float64) for n in theirs.shape[1:])
    cycles = torch.hypot(y[:, None], x)
    undone = torch.fft.fft2(theirs) * torch.sinc(cycles / torch.pi) * (cycles < 0.5)
    boundaries = [thickness * index for index in range(len(theirs) + 1)]
    ours = projected_slices(
        oracle["symbols"].tolist(),
        torch.from_numpy(oracle["positions_a"]),
        boundaries,
        tuple(theirs.shape[1:]),
        pixel,
        0.5 / pixel,
    )
    assert off(ours, torch.fft.ifft2(undone).real) < TOLERANCE
