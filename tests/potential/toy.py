"""Toy samples for tests that need no multislice: columns of Gaussian atoms, and images that show their gradient."""

import numpy as np

from workflow_scripts.potential.simulation.samples import FILLED, MATCHED, PATCH, RING, Microscope, Samples

PIXEL_A = 0.2
MICROSCOPE = Microscope(PIXEL_A, {RING: (10.0, 50.0), MATCHED: (0.0, 20.0)}, 200.0, 20.0)
MATERIALS = {"GaN": 2.8, "KNbO3": 4.0, "SrTiO3": 3.2}  # lattice constants, Å; 12.8 Å holds 4 of the last


def toy_samples(per_material: int = 4, side_px: int = 64, seed: int = 0, materials: dict = MATERIALS) -> Samples:
    """Two thicknesses of every specimen, both kinds; the crystals repeat, the patches end in vacuum."""
    rng = np.random.default_rng(seed)
    y, x = np.meshgrid(*[np.arange(side_px) * PIXEL_A] * 2, indexing="ij")
    rows = []
    for kind in (FILLED, PATCH):
        for material, lattice_a in materials.items():
            for number in range(per_material):
                phase, angle = rng.uniform(0, 2 * np.pi, 2), rng.uniform(0, 360)
                turned = np.exp(-1j * np.radians(angle)) * (y + 1j * x)
                waves = [
                    np.cos(2 * np.pi * part / lattice_a + p)
                    for part, p in ((turned.real, phase[0]), (turned.imag, phase[1]))
                ]
                column = np.exp(3 * (waves[0] + waves[1] - 2))
                middle = side_px * PIXEL_A / 2
                inside = (abs(y - middle) < 0.7 * middle) & (abs(x - middle) < 0.7 * middle)
                column = np.where(inside, column, 0) if kind == PATCH else column
                tilt_deg = rng.normal(0, 0.3, 2)
                for thickness_nm in (10.0, 40.0):
                    rows.append(
                        (column, thickness_nm, (angle, *tilt_deg), material, f"{material}-{kind}-{seed}-{number}", kind)
                    )
    columns, thickness, rotation, material, specimen, kind = (list(part) for part in zip(*rows, strict=True))
    potential = np.array(columns) * 2e3 * np.array(thickness)[:, None, None] / 10
    dy, dx = np.gradient(np.array(columns), axis=(1, 2))
    images = {}
    for name, share in ((RING, 0.15), (MATCHED, 0.22)):
        parts = [
            0.05 * (np.array(columns) + sign_y * dy + sign_x * dx)
            for sign_y, sign_x in ((1, 1), (-1, 1), (-1, -1), (1, -1))
        ]
        images[name] = np.clip(share + np.stack(parts, axis=1), 0, 1).astype(np.float32)
    return Samples(
        images=images,
        potential=potential.astype(np.float32),
        potential_limited=potential.astype(np.float32),
        thickness_nm=np.array(thickness),
        rotation_deg=np.array(rotation),
        cell_a=np.array([[materials[name]] * 2 for name in material]),
        material=np.array(material),
        specimen=np.array(specimen),
        kind=np.array(kind),
        setting=np.array([""] * len(kind)),
        microscope=MICROSCOPE,
    )
