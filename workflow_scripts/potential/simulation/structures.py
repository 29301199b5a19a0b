"""Crystals: six built-in ones from published structures, or from a file, each as an orthogonal cell that repeats."""

from dataclasses import dataclass, replace
from pathlib import Path

import ase
import numpy as np
from ase.spacegroup import crystal as from_space_group

from workflow_scripts.formats.crystals import DEFAULT_DEBYE_WALLER_A2, read_crystal
from workflow_scripts.potential.simulation.zone_axes import orthogonal_box
from workflow_scripts.workflow.errors import InputError


@dataclass(frozen=True)
class Crystal:
    """A crystal in an orthogonal cell that repeats; the beam runs along z.

    material: name of the material.
    symbols: (N,) elements.
    positions_a: float64 (N, 3) [z, y, x] in Å, 0 ≤ position < cell.
    cell_a: depth, height and width of the cell, Å.
    debye_waller_a2: (N,) isotropic Debye–Waller factors B = 8π²⟨u²⟩ in Å², with ⟨u²⟩ along one direction.
    """

    material: str
    symbols: tuple[str, ...]
    positions_a: np.ndarray
    cell_a: tuple[float, float, float]
    debye_waller_a2: tuple[float, ...]

    def tiled(self, repeats: tuple[int, int, int]) -> "Crystal":
        """The crystal with its cell repeated along z, y and x, copy after copy."""
        steps = np.stack(np.meshgrid(*map(np.arange, repeats), indexing="ij"), axis=-1).reshape(-1, 1, 3)
        depth, height, width = (side * count for side, count in zip(self.cell_a, repeats, strict=True))
        return replace(
            self,
            symbols=self.symbols * len(steps),
            positions_a=(steps * np.array(self.cell_a) + self.positions_a).reshape(-1, 3),
            cell_a=(depth, height, width),
            debye_waller_a2=self.debye_waller_a2 * len(steps),
        )

    def layer(self) -> "Crystal":
        """One S–Mo–S layer of the built-in MoS2, in a cell of half the bulk's depth.

        Raises:
            ValueError: the crystal is another one; no other has separate layers.
        """
        if self.material != "MoS2" or self.symbols != crystal("MoS2").symbols:
            raise ValueError(f"only the built-in MoS2 has separate layers, not {self.material}")
        depth, height, width = self.cell_a
        atoms = np.flatnonzero(self.positions_a[:, 0] < depth / 2)
        return self.with_atoms(atoms, self.positions_a[atoms], (depth / 2, height, width))

    def with_atoms(self, atoms: np.ndarray, positions_a: np.ndarray, cell_a: tuple[float, float, float]) -> "Crystal":
        """Atoms of the cell by their index, M of them, at positions (M, 3) in another cell."""
        return replace(
            self,
            symbols=tuple(self.symbols[atom] for atom in atoms),
            positions_a=positions_a,
            cell_a=cell_a,
            debye_waller_a2=tuple(self.debye_waller_a2[atom] for atom in atoms),
        )


@dataclass(frozen=True)
class _Published:
    """A crystal as it is published: cell parameters a, b, c in Å and α, β, γ in degrees, sites in fractions."""

    space_group: int
    cell: tuple[float, float, float, float, float, float]
    sites: tuple[tuple[str, tuple[float, float, float]], ...]
    debye_waller_a2: dict[str, float]
    zone_axis: tuple[int, int, int] = (0, 0, 1)


_THIRD = 1 / 3
_PUBLISHED = {
    # Wurtzite: Schulz and Thiemann (doi:10.1016/0038-1098(77)90959-0). B: mean over the axes of the first-principles
    # ⟨u²⟩ of Schowalter et al. (doi:10.1107/S0108767309004966), Ga 0.0034 and 0.0033, N 0.0039 and 0.0034 Å².
    "GaN": _Published(
        186,
        (3.190, 3.190, 5.189, 90, 90, 120),
        (("Ga", (_THIRD, 2 * _THIRD, 0.0)), ("N", (_THIRD, 2 * _THIRD, 0.377))),
        {"Ga": 0.266, "N": 0.295},
    ),
    # R-3m, hexagonal axes, cobalt at the origin: Akimoto, Gotoh and Oosawa (doi:10.1006/jssc.1998.7966); oxygen such
    # that the edge of CoO6 is the 2.618 Å of Takahashi et al. (doi:10.1016/j.jssc.2006.10.018). B: the default.
    "LiCoO2": _Published(
        166,
        (2.8161, 2.8161, 14.0536, 90, 90, 120),
        (("Li", (0.0, 0.0, 0.5)), ("Co", (0.0, 0.0, 0.0)), ("O", (0.0, 0.0, 0.26032))),
        {},
    ),
    # Amm2, the phase at room temperature, along its a axis, which is a cube axis of the perovskite:
    # Hewat (doi:10.1088/0022-3719/6/16/010). B: the default.
    "KNbO3": _Published(
        38,
        (3.973, 5.695, 5.721, 90, 90, 90),
        (
            ("K", (0.0, 0.0, 0.0138)),
            ("Nb", (0.5, 0.0, 0.5)),
            ("O", (0.0, 0.0, 0.5364)),
            ("O", (0.5, 0.2476, 0.2842)),
        ),
        {},
        zone_axis=(1, 0, 0),
    ),
    # The cubic phase, which is stable above 600 K: Trots and Myagkota (doi:10.1016/j.jpcs.2008.05.007).
    # B: the default, several times too small for a halide perovskite, whose iodine moves far.
    "CsPbI3": _Published(
        221,
        (6.2894, 6.2894, 6.2894, 90, 90, 90),
        (("Cs", (0.0, 0.0, 0.0)), ("Pb", (0.5, 0.5, 0.5)), ("I", (0.5, 0.5, 0.0))),
        {},
    ),
    # 2H: Bronsema, de Boer and Jellinek (doi:10.1002/zaac.19865400904). B: mean over the axes of ⟨u²⟩ that
    # Schönfeld, Huang and Moss (doi:10.1107/S0108768183002645) found in 3R, whose layers are the same.
    "MoS2": _Published(
        194,
        (3.1602, 3.1602, 12.294, 90, 90, 120),
        (("Mo", (_THIRD, 2 * _THIRD, 0.25)), ("S", (_THIRD, 2 * _THIRD, 0.621))),
        {"Mo": 0.45, "S": 0.33},
    ),
    # Cubic: Mitchell, Chakhmouradian and Woodward (doi:10.1007/s002690000103).
    # B: Abramov et al. (doi:10.1107/S0108768195003752).
    "SrTiO3": _Published(
        221,
        (3.90528, 3.90528, 3.90528, 90, 90, 90),
        (("Sr", (0.0, 0.0, 0.0)), ("Ti", (0.5, 0.5, 0.5)), ("O", (0.5, 0.5, 0.0))),
        {"Sr": 0.6214, "Ti": 0.4398, "O": 0.7323},
    ),
}


def crystal(material: str) -> Crystal:
    """A crystal of `settings.BUILT_IN` along [001], KNbO3 along [100]; hexagonal cells are a × √3a across the beam."""
    published = _PUBLISHED[material]
    symbols, basis = zip(*published.sites, strict=True)
    atoms = from_space_group(symbols, basis, spacegroup=published.space_group, cellpar=published.cell)
    return from_atoms(material, atoms, published.zone_axis, published.debye_waller_a2)


def read_structure(path: Path) -> Crystal:
    """The crystal of a .cif or .cube file as the smallest orthogonal cell along its c axis, named after the file.

    A crystal whose angles are within 0.5° of 90° is strained to be orthogonal. All atoms get the default Debye–Waller
    factor.

    Raises:
        InputError: the file cannot be used, its crystal is not ordered, or has no orthogonal cell along the axis.
    """
    ordered = read_crystal(path, ordered=True)
    try:
        return from_atoms(ordered.name, ordered.atoms(), (0, 0, 1), {})
    except ValueError as error:
        raise InputError(f"{path}: {error}; give an orthogonal cell") from None


def from_atoms(
    material: str, atoms: ase.Atoms, zone_axis: tuple[int, int, int], debye_waller_a2: dict[str, float]
) -> Crystal:
    """The crystal of a periodic cell along a zone axis.

    Args:
        material: its name.
        atoms: one cell, periodic in all directions.
        zone_axis: indices [u v w] of the beam direction.
        debye_waller_a2: B of each element in Å²; those that are absent get the default.

    Raises:
        ValueError: no orthogonal cell of a sensible size exists along this axis.
    """
    cell_a = np.asarray(atoms.cell)
    fractional = np.linalg.solve(cell_a.T, atoms.positions.T).T
    box = orthogonal_box(cell_a, fractional, atoms.numbers, zone_axis)
    # By depth, then across: the order in which the beam meets the atoms.
    order = np.lexsort(box.positions_a.T[::-1].round(6))
    symbols = tuple(atoms.symbols[int(atom)] for atom in box.source[order])
    return Crystal(
        material=material,
        symbols=symbols,
        positions_a=box.positions_a[order],
        cell_a=box.cell_a,
        debye_waller_a2=tuple(debye_waller_a2.get(symbol, DEFAULT_DEBYE_WALLER_A2) for symbol in symbols),
    )
