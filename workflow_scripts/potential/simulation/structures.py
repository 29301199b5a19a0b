"""Crystals: six built-in ones from published structures, or from a file, each as an orthogonal cell that repeats."""

from dataclasses import dataclass, replace
from pathlib import Path

import ase
import numpy as np
import yaml
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


def crystal(material: str) -> Crystal:
    """A crystal of `settings.BUILT_IN` along [001], KNbO3 along [100]; hexagonal cells are a × √3a across the beam."""
    published = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))[material]
    symbols, basis = zip(*published["sites"], strict=True)
    atoms = from_space_group(symbols, basis, spacegroup=published["space_group"], cellpar=published["cell"])
    zone_axis = tuple(published.get("zone_axis", (0, 0, 1)))
    return from_atoms(material, atoms, zone_axis, published.get("debye_waller_a2", {}))


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
