"""Write abtem_scans.npz, abTEM's scanned images of small crystals, for the tests of images.

    python tests/optics/make_scan_oracle.py [FILE]

Needs abTEM (1.0.11 made the file that is kept), which is no dependency of the project: install it into another
environment. abTEM has x before y; here its first axis is y, in positions, tilts, potentials and images alike.

The disturbed specimen is SrTiO3, 3 × 3 cells, strained to 10.8 × 12 Å so that y and x differ, every atom displaced by a
random part of an Ångström so that it has no symmetry and lies on no pixel. It repeats every 4 Å along the beam, in two
slices of 2 Å with the atoms well inside them; 72 × 80 pixels of 0.15 Å, which keep all angles to 55.7 mrad at 200 kV.
The crystal is one such cell, 3.6 × 3 Å on 24 × 24 rectangular pixels, 3 × 4 times beside itself.

What abTEM computes with: Kirkland potentials, projected ("infinite", its default), double precision, a band limit of
2/3 with a sharp edge instead of its default that falls over 1 % of the sampling frequency, and a sharp aperture
(soft=False: angle <= semiangle is in) instead of its default that falls over one pixel. Intensities are shares of the
incident electrons.

    symbols, positions_a [z, y, x], cell_a          the atoms of one period of the disturbed specimen
    period_v_a, slice_a, pixel_size_a, voltage_kv   its two projected potentials in V Å (2, 72, 80)
    repeats                                         (2,) periods of the two thicknesses, 4 nm and 12 nm
    crystal_v_a, crystal_pixel_size_a, crystal_tiles  of the crystal's cell: (2, 24, 24), (2,), (2,)
    raster_a (90, 2), raster_shape, loose_a (12, 2) [y, x] of the probes: every 8 pixels, and anywhere
    segments_{10_50,0_20,crystal}                   int8 (H, W), the segment of each frequency or -1, [0, 0] first;
                                                    found by detecting one plane wave a frequency
    aperture_{10,20,30}, aperture_20_soft           amplitudes (72, 80) as abTEM has them, not normalised
    nyquist_{10,20,30}_a                            its Nyquist sampling of the scan, λ / 4α: 0.3135 Å at 20 mrad
    images_*                                        (2 thicknesses, 4 segments, 102 probes), raster before loose

Segments are quarters of a turn, from +y (first axis) towards +x; an edge belongs to the segment that begins at it, the
outer angle to none, the direct beam to segment 0 of a disc.

Images: {10,20,30} at 10-50 mrad; 20_disc at 0-20 mrad; 20_soft with abTEM's own soft aperture; 20_aberrated with
defocus_a and cs_mm; 20_tilted with the beam tilted by tilt_mrad, which abTEM puts into the propagator alone as
exp(-2πi q·tan(tilt) Δz): detector and aperture stay; 20_crystal; smatrix_{10,20,30} and smatrix_20_soft by the S-matrix
without interpolation, whose beams have single precision.

20_infinite and 20_finite are for potentials of the atoms alone. abTEM shares an atom between the four pixels around it,
which at 0.15 Å is wrong by 14 % of the largest potential and of the images, so there it computes the potential on
pixels eight times finer and the part of it below Nyquist is kept. "finite" spreads atoms over the slices along z.
"""

import sys
from pathlib import Path

import abtem
import ase
import numpy as np

SHAPE, PIXEL_SIZE_A, SLICE_A, PERIOD_A = (72, 80), 0.15, 2.0, 4.0
CRYSTAL_SHAPE, CRYSTAL_PIXEL_SIZE_A, CRYSTAL_TILES = (24, 24), (0.15, 0.125), (3, 4)
REPEATS = (10, 30)
VOLTAGE_KV = 200.0
SEMIANGLES_MRAD = (10, 20, 30)
RASTER_STEP_PX, LOOSE = 8, 12
FINER = 8
DEFOCUS_A, CS_A = 60.0, 5e5
TILT_MRAD = (3.0, -5.0)


def strontium_titanate(cells: tuple[int, int], cell_a: tuple[float, float], rng: np.random.Generator) -> ase.Atoms:
    """One period of SrTiO3 of several unit cells, strained to fill the cell, disturbed."""
    sites = [
        ("Sr", 0, 0, 0.25),
        ("Ti", 0.5, 0.5, 0.75),
        ("O", 0.5, 0.5, 0.25),
        ("O", 0, 0.5, 0.75),
        ("O", 0.5, 0, 0.75),
    ]
    symbols, fractions = [], []
    for column in np.ndindex(cells):
        for symbol, *site in sites:
            symbols.append(symbol)
            fractions.append(np.add(site, (*column, 0)) / (*cells, 1))
    box = np.array([*cell_a, PERIOD_A])
    positions = np.array(fractions) * box + rng.uniform(-0.2, 0.2, (len(symbols), 3))
    positions[:, :2] %= box[:2]
    return ase.Atoms(symbols, positions=positions, cell=box, pbc=True)


def potential(atoms: ase.Atoms, shape: tuple[int, int], projection: str = "infinite") -> np.ndarray:
    """(slices, H, W) in V Å, from abTEM."""
    how = {"gpts": shape, "slice_thickness": SLICE_A, "parametrization": "kirkland", "projection": projection}
    return abtem.Potential(atoms, **how).build(lazy=False).array


def from_finer(atoms: ase.Atoms, projection: str) -> np.ndarray:
    """One period (2, 72, 80): the frequencies below Nyquist of the potential on finer pixels, between two others."""
    fine = potential(atoms * (1, 1, 3), (SHAPE[0] * FINER, SHAPE[1] * FINER), projection)[2:4]
    y, x = (np.fft.fftfreq(side) for side in SHAPE)
    rows, columns = (np.rint(part * side).astype(int) for part, side in zip((y, x), SHAPE, strict=True))
    spectrum = np.fft.fft2(fine, norm="forward")[:, rows[:, None], columns]
    return np.fft.ifft2(spectrum * (np.hypot(y[:, None], x) < 0.5), norm="forward").real


def thick(period: np.ndarray, sampling_a: float | tuple[float, float] = PIXEL_SIZE_A) -> list[abtem.PotentialArray]:
    """Both thicknesses."""
    how = {"slice_thickness": SLICE_A, "sampling": sampling_a}
    return [abtem.PotentialArray(np.tile(period, (repeats, 1, 1)), **how) for repeats in REPEATS]


def detector(inner_mrad: float, outer_mrad: float) -> abtem.SegmentedDetector:
    return abtem.SegmentedDetector(inner=inner_mrad, outer=outer_mrad, nbins_radial=1, nbins_azimuthal=4)


def segments(seen_by: abtem.SegmentedDetector, shape: tuple[int, int], sampling_a: float | tuple) -> np.ndarray:
    """int8 (H, W): which segment sees each frequency, by detecting one plane wave a frequency."""
    height, width = shape
    regions = np.full(shape, -1, np.int8)
    for row in range(height):
        spectra = np.zeros((width, height, width), complex)
        spectra[np.arange(width), row, np.arange(width)] = 1
        axis = abtem.core.axes.OrdinalAxis(values=tuple(range(width)))
        how = {"sampling": sampling_a, "energy": 1e3 * VOLTAGE_KV, "ensemble_axes_metadata": [axis]}
        seen = seen_by.detect(abtem.Waves(np.fft.ifft2(spectra), **how)).array[:, 0]  # (W, 4)
        regions[row] = np.where(seen.sum(-1) > 0.5, seen.argmax(-1), -1)
    return regions


def make_probe(semiangle_mrad: float, soft: bool = False, **more) -> abtem.Probe:
    return abtem.Probe(energy=1e3 * VOLTAGE_KV, semiangle_cutoff=semiangle_mrad, soft=soft, **more)


def aperture(semiangle_mrad: float, soft: bool = False) -> np.ndarray:
    """Amplitudes (72, 80), by a probe at the origin."""
    probe = make_probe(semiangle_mrad, soft)
    probe.grid.match(abtem.core.grid.Grid(gpts=SHAPE, sampling=PIXEL_SIZE_A))
    amplitude = np.fft.fft2(probe.build((0.0, 0.0), lazy=False).array).real
    return (amplitude / amplitude[0, 0]).round(12)


def direct(probe: abtem.Probe, potentials: list, scan: abtem.CustomScan, seen_by: abtem.SegmentedDetector) -> list:
    """(4, positions) for both thicknesses, probe by probe."""
    return [probe.copy().scan(each, scan, detectors=seen_by, lazy=False).array[:, 0].T for each in potentials]


def by_smatrix(semiangle_mrad: float, potentials: list, scan: abtem.CustomScan, soft: bool = False) -> list:
    """(4, positions) for both thicknesses, by PRISM without interpolation."""
    ctf = abtem.CTF(energy=1e3 * VOLTAGE_KV, semiangle_cutoff=semiangle_mrad, soft=soft)
    images = []
    for each in potentials:
        waves = abtem.SMatrix(semiangle_cutoff=semiangle_mrad, energy=1e3 * VOLTAGE_KV, potential=each)
        built = waves.build(lazy=False)
        images.append(built.reduce(scan, ctf=ctf, detectors=detector(10, 50)).array[:, 0].T)
    return images


def main() -> None:
    """The crystals, the probes, and every image."""
    abtem.config.set({"diagnostics.progress_bar": False, "antialias.taper": 0.0, "precision": "float64"})
    rng = np.random.default_rng(1)
    cell_a = (SHAPE[0] * PIXEL_SIZE_A, SHAPE[1] * PIXEL_SIZE_A)
    atoms = strontium_titanate((3, 3), cell_a, rng)
    period = potential(atoms, SHAPE)
    crystal_a = tuple(side * pixel for side, pixel in zip(CRYSTAL_SHAPE, CRYSTAL_PIXEL_SIZE_A, strict=True))
    crystal = potential(strontium_titanate((1, 1), crystal_a, rng), CRYSTAL_SHAPE)
    disturbed = thick(period)

    raster = np.stack(np.meshgrid(*(np.arange(0, n, RASTER_STEP_PX) for n in SHAPE), indexing="ij"), axis=-1)
    raster_a = raster.reshape(-1, 2) * PIXEL_SIZE_A
    loose_a = rng.uniform(0, cell_a, (LOOSE, 2))
    scan = abtem.CustomScan(np.concatenate([raster_a, loose_a]))
    annulus, disc = detector(10, 50), detector(0, 20)

    images = {}
    for semiangle in SEMIANGLES_MRAD:
        images[f"{semiangle}"] = direct(make_probe(semiangle), disturbed, scan, annulus)
        images[f"smatrix_{semiangle}"] = by_smatrix(semiangle, disturbed, scan)
    images["smatrix_20_soft"] = by_smatrix(20, disturbed, scan, soft=True)
    images["20_soft"] = direct(make_probe(20, soft=True), disturbed, scan, annulus)
    images["20_disc"] = direct(make_probe(20), disturbed, scan, disc)
    images["20_aberrated"] = direct(make_probe(20, defocus=DEFOCUS_A, Cs=CS_A), disturbed, scan, annulus)
    images["20_tilted"] = direct(make_probe(20, tilt=TILT_MRAD), disturbed, scan, annulus)
    tiled = thick(np.tile(crystal, (1, *CRYSTAL_TILES)), CRYSTAL_PIXEL_SIZE_A)
    images["20_crystal"] = direct(make_probe(20), tiled, scan, annulus)
    for projection in ("infinite", "finite"):
        own = thick(from_finer(atoms, projection))
        images[f"20_{projection}"] = direct(make_probe(20), own, scan, annulus)
    for name in [*map(str, SEMIANGLES_MRAD), "20_soft"]:
        largest = np.abs(np.array(images[f"smatrix_{name}"]) - images[name]).max() / np.max(images[name])
        print(f"S-matrix against probes, {name}: {largest:.1e} of the maximum")

    np.savez_compressed(
        Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("abtem_scans.npz"),
        symbols=np.array(atoms.get_chemical_symbols()),
        positions_a=atoms.positions[:, [2, 0, 1]],
        cell_a=atoms.cell.lengths()[[2, 0, 1]],
        period_v_a=period.astype(np.float32),
        slice_a=SLICE_A,
        pixel_size_a=PIXEL_SIZE_A,
        voltage_kv=VOLTAGE_KV,
        repeats=REPEATS,
        crystal_v_a=crystal.astype(np.float32),
        crystal_pixel_size_a=CRYSTAL_PIXEL_SIZE_A,
        crystal_tiles=CRYSTAL_TILES,
        raster_a=raster_a,
        raster_shape=raster.shape[:2],
        loose_a=loose_a,
        defocus_a=DEFOCUS_A,
        cs_mm=CS_A * 1e-7,
        tilt_mrad=TILT_MRAD,
        segments_10_50=segments(annulus, SHAPE, PIXEL_SIZE_A),
        segments_0_20=segments(disc, SHAPE, PIXEL_SIZE_A),
        segments_crystal=segments(annulus, tiled[0].gpts, CRYSTAL_PIXEL_SIZE_A),
        aperture_20_soft=aperture(20, soft=True).astype(np.float32),
        **{f"aperture_{semiangle}": aperture(semiangle).astype(np.float32) for semiangle in SEMIANGLES_MRAD},
        **{f"nyquist_{semiangle}_a": make_probe(semiangle).aperture.nyquist_sampling for semiangle in SEMIANGLES_MRAD},
        **{f"images_{name}": np.array(image, np.float32) for name, image in images.items()},
    )


if __name__ == "__main__":
    main()
