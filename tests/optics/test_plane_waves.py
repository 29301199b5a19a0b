"""Images from plane waves against images from probes, closed forms and limits."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from workflow_scripts.optics.detectors import Detector
from workflow_scripts.optics.multislice import multislice, transmission
from workflow_scripts.optics.plane_waves import Field, ImageSeries, Probe, Specimen, images, scattering_matrix
from workflow_scripts.optics.potential import projected_slices
from workflow_scripts.optics.waves import interaction_parameter, wavelength_a

KV = 200.0
CELL_A = (4.0, 3.2)
SHAPE = (32, 24)
PIXEL_A = tuple(side / n for side, n in zip(CELL_A, SHAPE, strict=True))
DISTANCES_A = (1.5, 2.5)
DETECTORS = [Detector(10, 45, 4), Detector(0, 20, 4, 30.0)]


def crystal(scale=1.0):
    """Two slices of a rectangular crystal without any symmetry, V Å."""
    atoms = torch.tensor([[0.5, 0.3, 0.4], [0.5, 2.2, 1.9], [2.0, 1.1, 2.8], [2.0, 3.0, 0.9]], dtype=torch.float64)
    return scale * projected_slices(["Sr", "O", "Ti", "O"], atoms, [0, 1.5, 4.0], SHAPE, PIXEL_A, 3.0, [0.5] * 4)


def specimen(exits=(2, 7), scale=1.0, tiles=(1, 1)):
    return Specimen(transmission(crystal(scale), PIXEL_A, KV).repeat(1, *tiles), DISTANCES_A, exits)


def probe_images(thick, field, probe, positions_a):
    """Probe by probe: (exits, segments, positions)."""
    shape = field.shape
    axes = [torch.fft.fftfreq(n, p, dtype=torch.float64) for n, p in zip(shape, field.pixel_size_a, strict=True)]
    lattice = torch.cartesian_prod(*axes)
    inside = lattice.norm(dim=1) <= probe.radius_per_a
    masks = torch.cat([detector.masks(lattice, KV) for detector in DETECTORS]).double()
    amplitude = probe.amplitude(lattice) * inside / inside.sum().sqrt()
    waves = amplitude * torch.exp(-2j * math.pi * (positions_a @ lattice.T))  # (P, K)
    waves = torch.fft.ifft2(waves.unflatten(1, shape), norm="ortho")
    found = []
    for exit_slice in thick.exits:
        slices = [thick.transmissions[i % 2] for i in range(exit_slice)]
        distances = [DISTANCES_A[i % 2] for i in range(exit_slice - 1)]
        out = torch.fft.fft2(multislice(waves, slices, distances, field.pixel_size_a, KV), norm="ortho")
        found.append(masks @ out.abs().square().flatten(1).T)
    return torch.stack(found)


@pytest.mark.parametrize(
    "probe", [Probe(KV, 20.0), Probe(KV, 27.3, defocus_a=60.0, cs_mm=0.01)], ids=["focused", "aberrated"]
)
@pytest.mark.parametrize("tiles", [(2, 3), (3, 2)])
def test_plane_waves_are_probes(probe, tiles):
    """Even and odd numbers of tiles; the classes of beams on one cell, all beams on the tiled grid, and probes."""
    positions = 12 * torch.rand(7, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    wide = Field(tuple(n * t for n, t in zip(SHAPE, tiles, strict=True)), PIXEL_A)
    by_probe = probe_images(specimen(tiles=tiles), wide, probe, positions)
    tiled = images(specimen(), Field(SHAPE, PIXEL_A, tiles), probe, DETECTORS)
    whole = images(specimen(tiles=tiles), wide, probe, DETECTORS)
    assert tiled.at(positions).shape == (2, 8, 7)
    assert torch.allclose(tiled.at(positions), by_probe, atol=1e-12)
    assert torch.allclose(whole.at(positions), by_probe, atol=1e-12)


def test_single_precision_is_enough():
    positions = torch.rand(9, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    field, probe = Field(SHAPE, PIXEL_A, (3, 4)), Probe(KV, 20.0)
    double = images(specimen((40,)), field, probe, DETECTORS).at(positions)
    thick = specimen((40,))
    single = images(Specimen(thick.transmissions.to(torch.complex64), DISTANCES_A, (40,)), field, probe, DETECTORS)
    assert single.coefficients.dtype == torch.complex64
    assert float((single.at(positions) - double).abs().max() / double.max()) < 2e-5


def test_nyquist_scanning_holds_every_position():
    """An image sampled at twice its highest frequency, interpolated by Fourier, is the image scanned directly."""
    field, probe = Field(SHAPE, PIXEL_A, (3, 4)), Probe(KV, 20.0)
    series = images(specimen(), field, probe, DETECTORS)
    n = series.coefficients.shape[-2:]
    assert all(side / count <= 1 / (4 * probe.radius_per_a) * 1.4 for side, count in zip(CELL_A, n, strict=True))
    sampled = series.raster(tuple(n))  # as few positions as there are coefficients
    spectrum = torch.fft.fftshift(torch.fft.fft2(sampled, norm="forward"), dim=(-2, -1))
    fine = torch.cartesian_prod(*[torch.arange(17, dtype=torch.float64) / 17 * side for side in CELL_A])
    direct = series.at(fine)
    assert float((ImageSeries(spectrum, series.period_a).at(fine) - direct).abs().max() / direct.max()) < 1e-12
    assert torch.allclose(series.raster((17, 17)).flatten(-2), direct, atol=1e-12)
    with pytest.raises(ValueError, match="coarser"):
        series.raster((n[0] - 1, n[1]))


def test_vacuum_images_the_aperture():
    empty = Specimen(torch.ones(1, *SHAPE, dtype=torch.complex128), [3.0], [5])
    field, probe = Field(SHAPE, PIXEL_A, (4, 5)), Probe(KV, 20.0, defocus_a=100.0)
    series = images(empty, field, probe, [Detector(10, 45, 4), Detector(0, 30)])
    mean = series.at(torch.zeros(1, 2, dtype=torch.float64))[0, :, 0]
    assert torch.allclose(mean[4], torch.tensor(1.0).double())  # all of the beam
    assert mean[:4].sum() == pytest.approx(1 - 10**2 / 20**2, abs=0.05)  # the ring's share of the disc
    flat = series.coefficients.clone()
    flat[..., flat.shape[-2] // 2, flat.shape[-1] // 2] = 0
    assert float(flat.abs().max()) < 1e-14


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 12), st.floats(0, 3))
def test_no_electron_is_lost_below_the_band_limit(exit_slice, scale):
    """With slices that scatter weakly enough to stay in the band, the whole detector counts every electron."""
    soft = projected_slices(
        ["C"], torch.tensor([[0.5, 1.0, 1.0]]).double(), [0, 1], SHAPE, PIXEL_A, 3.0, [6.0]
    )  # nothing beyond 2 Å⁻¹
    thick = Specimen(transmission(scale * soft, PIXEL_A, KV), [1.0], [exit_slice])
    series = images(thick, Field(SHAPE, PIXEL_A, (2, 2)), Probe(KV, 15.0), [Detector(0, 62)])
    everywhere = series.raster((16, 16))
    assert torch.allclose(everywhere, torch.ones_like(everywhere), atol=1e-4)


def test_weak_phase_limit():
    """I = Σ_D |A|² + 2 Re iσ Σ_Q V_Q exp(2πi Q·r) Σ_D A*(k) A(k − Q), brute force over the lattice."""
    scale = 1e-4
    tiles, probe = (3, 4), Probe(KV, 20.0, defocus_a=40.0)
    field = Field(SHAPE, PIXEL_A, tiles)
    slices = crystal(scale).sum(0, keepdim=True)
    series = images(Specimen(transmission(slices, PIXEL_A, KV), [1.0], [1]), field, probe, DETECTORS)
    vacuum = images(Specimen(torch.ones(1, *SHAPE).to(torch.complex128), [1.0], [1]), field, probe, DETECTORS)
    positions = torch.tensor([[0.1, 0.7], [2.0, 1.1], [3.3, 2.9]], dtype=torch.float64)
    contrast = (series.at(positions) - vacuum.at(positions))[0]

    spectrum = torch.fft.fft2(slices[0], norm="forward")
    extent = torch.tensor(field.extent_a, dtype=torch.float64)
    reach = [math.ceil(2.2 * side) for side in field.extent_a]
    lattice = torch.cartesian_prod(*[torch.arange(-n, n + 1) for n in reach])
    frequency = lattice / extent
    inside = frequency.norm(dim=1) <= probe.radius_per_a
    wave = probe.amplitude(frequency) * inside / inside.sum().sqrt()
    grid = torch.zeros(*(2 * n + 1 for n in reach), dtype=torch.complex128)
    grid[lattice[:, 0], lattice[:, 1]] = wave  # negative indices wrap
    masks = torch.cat([detector.masks(frequency, KV) for detector in DETECTORS]).double()
    expected = torch.zeros(8, 3, dtype=torch.float64)
    for y in range(-8, 9):
        for x in range(-6, 7):
            shifted = lattice - torch.tensor([y * tiles[0], x * tiles[1]])
            fits = (shifted.abs() <= torch.tensor(reach)).all(1)
            other = torch.where(
                fits, grid[shifted[:, 0].clamp(-reach[0], reach[0]), shifted[:, 1].clamp(-reach[1], reach[1])], 0
            )
            overlap = masks.to(torch.complex128) @ (wave.conj() * other)  # (8,)
            turn = torch.exp(2j * math.pi * (positions @ torch.tensor([y / CELL_A[0], x / CELL_A[1]]).double()))
            expected += 2 * (1j * interaction_parameter(KV) * spectrum[y, x] * overlap[:, None] * turn).real
    assert float((contrast - expected).abs().max() / expected.abs().max()) < 1e-3


def test_a_tilted_beam_is_a_beam_off_the_axis():
    """A tilt by whole vectors of the lattice: the aperture and the detector move in reciprocal space instead."""
    tiles = (2, 2)
    field = Field(tuple(n * t for n, t in zip(SHAPE, tiles, strict=True)), PIXEL_A)
    move = torch.tensor([3, -2])
    shift = (move / torch.tensor(field.extent_a)).double()
    tilt_mrad = tuple((1e3 * wavelength_a(KV) * shift).tolist())
    thick = specimen((40,), scale=0.3, tiles=tiles)
    straight = Probe(KV, 12.0)
    beams, detected = (field.lattice_inside(limit) for limit in (straight.radius_per_a, 1.0))
    tilted = scattering_matrix(thick, field, Probe(KV, 12.0, tilt_mrad=tilt_mrad), beams, detected)
    moved = scattering_matrix(thick, field, straight, beams + move, detected + move)
    assert float((tilted.abs() - moved.abs()).abs().max() / moved.abs().max()) < 1e-3
    untilted = scattering_matrix(thick, field, straight, beams, detected)
    assert float((untilted.abs() - moved.abs()).abs().max() / moved.abs().max()) > 0.05


def test_a_source_of_finite_size_blurs():
    field = Field(SHAPE, PIXEL_A, (3, 4))
    sharp, blurred = (
        images(specimen(), field, Probe(KV, 20.0, source_size_a=size), DETECTORS).raster((64, 48)) for size in (0, 0.3)
    )
    y, x = (torch.fft.fftfreq(n, side / n, dtype=torch.float64) for n, side in zip((64, 48), CELL_A, strict=True))
    kernel = torch.exp(-2 * (math.pi * 0.3) ** 2 * (y[:, None].square() + x.square()))
    assert torch.allclose(torch.fft.ifft2(torch.fft.fft2(sharp) * kernel).real, blurred, atol=1e-12)


def test_batches_do_not_change_the_result_and_the_budget_is_kept():
    field, probe = Field(SHAPE, PIXEL_A, (2, 2)), Probe(KV, 20.0)
    roomy = images(specimen(), field, probe, DETECTORS)
    tight = images(specimen(), field, probe, DETECTORS, memory_bytes=600_000)
    assert torch.allclose(roomy.coefficients, tight.coefficients, atol=1e-14)
    with pytest.raises(ValueError, match="MiB"):
        images(specimen(), field, probe, DETECTORS, memory_bytes=20_000)


def test_gradients_are_those_of_finite_differences():
    field, probe = Field(SHAPE, PIXEL_A, (2, 2)), Probe(KV, 20.0)
    position = torch.tensor([[1.0, 0.4]], dtype=torch.float64)

    def signal(potential):
        through = transmission(potential, PIXEL_A, KV)
        return images(Specimen(through, DISTANCES_A, (4,)), field, probe, DETECTORS).at(position)[0, 1, 0]

    potential = crystal().requires_grad_()
    (gradient,) = torch.autograd.grad(signal(potential), potential)
    step = torch.zeros_like(potential)
    step[1, 5, 7] = 1.0
    with torch.no_grad():
        difference = (signal(potential + step) - signal(potential - step)) / 2
    assert float(gradient[1, 5, 7]) == pytest.approx(float(difference), rel=1e-3)


def test_mistakes_are_named():
    field, probe = Field(SHAPE, PIXEL_A), Probe(KV, 20.0)
    with pytest.raises(ValueError, match="detector reaches 90"):
        images(specimen(), field, probe, [Detector(10, 90)])
    with pytest.raises(ValueError, match="aperture"):
        images(specimen(), field, Probe(KV, 85.0), [Detector(10, 45)])
    with pytest.raises(ValueError, match="grid"):
        images(specimen(tiles=(2, 1)), field, probe, DETECTORS)
    with pytest.raises(ValueError, match="distances"):
        Specimen(specimen().transmissions, [1.0], [1])
    with pytest.raises(ValueError, match="exits"):
        Specimen(specimen().transmissions, DISTANCES_A, [3, 2])
