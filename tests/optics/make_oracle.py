"""Write abtem_oracle.npz, abTEM's waves and patterns of a few atoms, for test_oracle.py.

    python tests/optics/make_oracle.py

Needs abTEM (1.0.11 made the file that is kept), which is no dependency of the project: install it into another
environment. abTEM has x before y; here its first axis is y.
"""

from pathlib import Path

import abtem
import ase
import numpy as np

SHAPE, PIXEL_SIZE_A, SLICE_A, SLICES = (40, 56), 0.2, 2.5, 4
VOLTAGE_KV = 80.0


def main() -> None:
    """Atoms in the middle of pixels and slices, three probes, and their exit waves."""
    # A sharp band limit as ours; abTEM's default softens it over 1 % of the sampling frequency.
    abtem.config.set({"local_diagnostics.progress_bar": False, "antialias.taper": 0.0})
    rng = np.random.default_rng(0)
    pixels = np.stack([rng.integers(0, side, 24) for side in SHAPE], axis=1)
    layers = rng.integers(0, SLICES, 24)
    symbols = rng.choice(["B", "N", "Si", "Au"], 24)
    positions = np.column_stack([pixels * PIXEL_SIZE_A, (layers + 0.5) * SLICE_A])
    cell = [SHAPE[0] * PIXEL_SIZE_A, SHAPE[1] * PIXEL_SIZE_A, SLICES * SLICE_A]
    atoms = ase.Atoms(symbols.tolist(), positions=positions, cell=cell, pbc=True)
    potential = abtem.Potential(
        atoms, gpts=SHAPE, slice_thickness=SLICE_A, parametrization="kirkland", projection="infinite"
    ).build(lazy=False)
    probe = abtem.Probe(energy=1e3 * VOLTAGE_KV, semiangle_cutoff=25.0, defocus=80.0)
    probe.grid.match(potential)
    scan = abtem.CustomScan([[1.0, 2.5], [3.3, 7.1], [6.05, 9.9]])
    waves = probe.build(scan, lazy=False)
    incident = waves.array.copy()
    exit_waves = waves.multislice(potential).array
    np.savez(
        Path(__file__).with_name("abtem_oracle.npz"),
        symbols=symbols,
        positions_a=positions[:, [2, 0, 1]],
        slice_a=SLICE_A,
        pixel_size_a=PIXEL_SIZE_A,
        voltage_kv=VOLTAGE_KV,
        interaction_parameter=abtem.core.energy.energy2sigma(1e3 * VOLTAGE_KV),
        potential=potential.array.astype(np.float32),
        incident=incident.astype(np.complex64),
        exit_waves=exit_waves.astype(np.complex64),
    )


if __name__ == "__main__":
    main()
