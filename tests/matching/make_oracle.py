"""Write abtem_structure_factors.npz, abTEM's structure factors of three crystals, for test_oracle.py.

    python tests/matching/make_oracle.py

Needs abTEM (1.0.11 made the file that is kept), which is no dependency of the project: install it into another
environment. The cells are built here by ase alone. abTEM's structure factors are over the volume of the cell in Å³, of
electrons at rest, without absorption; its Debye–Waller factors are standard deviations, B = 8π² σ².
"""

from pathlib import Path

import ase
import numpy as np
from abtem.bloch import BlochWaves, StructureFactor
from ase.spacegroup import crystal
from scipy.spatial.transform import Rotation

LARGEST_PER_A, VOLTAGE_KV, THIN_A = 1.25, 200.0, 10.0
B_A2 = {"polyethylene": {"C": 4.0, "H": 4.0}, "silicon": {"Si": 0.5}, "sodium_chloride": {"Na": 1.5, "Cl": 1.5}}


def polyethylene() -> ase.Atoms:
    """From Pnma (62), whose axes b and c change places."""
    sites = [(0.038, 0.25, 0.065), (0.00369, 0.25, 0.28002), (0.18449, 0.25, 0.04188)]
    pnma = crystal(["C", "H", "H"], sites, spacegroup=62, cellpar=[7.40, 2.534, 4.93, 90, 90, 90])
    fractional = pnma.get_scaled_positions()[:, [0, 2, 1]]
    return ase.Atoms(pnma.symbols, scaled_positions=fractional, cell=[7.40, 4.93, 2.534], pbc=True)


def main() -> None:
    """Structure factors, excitation errors and spots of a thin crystal in one orientation, and a pair of beams."""
    cells = {
        "polyethylene": polyethylene(),
        "silicon": crystal("Si", [(0, 0, 0)], spacegroup=227, cellpar=[5.43102] * 3 + [90] * 3),
        "sodium_chloride": crystal(
            ["Na", "Cl"], [(0, 0, 0), (0.5, 0.5, 0.5)], spacegroup=225, cellpar=[5.640] * 3 + [90] * 3
        ),
    }
    # Near a zone axis, rotated about all axes.
    rotation = Rotation.from_euler("zyx", [25.0, 4.0, 7.0], degrees=True).as_matrix()
    kept = {"rotation": rotation, "voltage_kv": VOLTAGE_KV, "largest_per_a": LARGEST_PER_A, "thin_a": THIN_A}
    for name, atoms in cells.items():
        sigma = {symbol: float(np.sqrt(b / (8 * np.pi**2))) for symbol, b in B_A2[name].items()}
        options = {"parametrization": "kirkland", "thermal_sigma": sigma, "cutoff": "hard", "centering": "P"}
        factors = StructureFactor(atoms, g_max=LARGEST_PER_A, **options).build(lazy=False)
        twice = StructureFactor(atoms, g_max=2 * LARGEST_PER_A, **options)
        waves = BlochWaves(
            twice, 1e3 * VOLTAGE_KV, sg_max=0.1, g_max=LARGEST_PER_A, orientation_matrix=rotation, centering="P"
        )
        pattern = waves.calculate_diffraction_patterns([THIN_A], lazy=False)
        kept |= {
            f"{name}.hkl": factors.hkl.astype(np.int16),
            f"{name}.structure_factor": factors.array * atoms.get_volume(),
            f"{name}.beam_hkl": waves.hkl.astype(np.int16),
            f"{name}.beam_g_per_a": waves.g_vec,
            f"{name}.excitation_error_per_a": waves.excitation_errors(),
            f"{name}.intensity": pattern.array[0],
        }
        print(name, len(factors.hkl), len(waves.hkl))
    kept |= two_beams(cells["sodium_chloride"])
    np.savez_compressed(Path(__file__).with_name("abtem_structure_factors.npz"), **kept)


def two_beams(atoms: ase.Atoms) -> dict[str, np.ndarray]:
    """Intensities of (200) of NaCl, with no other beam than 000, over thickness, at its Bragg condition and off it."""
    sigma = {symbol: float(np.sqrt(1.5 / (8 * np.pi**2))) for symbol in ("Na", "Cl")}
    options = {"parametrization": "kirkland", "thermal_sigma": sigma, "cutoff": "hard", "centering": "P"}
    factors = StructureFactor(atoms, g_max=0.8, **options)
    thickness_a = np.linspace(50.0, 1500.0, 30)
    rotations, patterns = [], []
    for tilt in (0.0, 0.15):  # degrees off the Bragg condition
        # Beam 17° off the zone axis about [200], so that the row of (200) alone comes near the sphere.
        away = Rotation.from_euler("x", 17.3, degrees=True)
        bragg = np.rad2deg(np.arcsin(0.0250793 / 2 * (2 / 5.640)))
        rotation = (Rotation.from_euler("y", bragg + tilt, degrees=True) * away).as_matrix()
        waves = BlochWaves(
            factors, 1e3 * VOLTAGE_KV, sg_max=0.003, g_max=0.4, orientation_matrix=rotation, centering="P"
        )
        indices = [tuple(int(i) for i in hkl) for hkl in waves.hkl]
        print("two beams", indices, waves.excitation_errors())
        pattern = waves.calculate_diffraction_patterns(thickness_a, lazy=False)
        rotations.append(rotation)
        patterns.append(pattern.array[:, indices.index((2, 0, 0))])
    return {
        "two_beam.thickness_a": thickness_a,
        "two_beam.rotation": np.stack(rotations),
        "two_beam.intensity": np.stack(patterns),
    }


if __name__ == "__main__":
    main()
