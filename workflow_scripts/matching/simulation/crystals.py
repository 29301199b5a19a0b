"""Crystals: polyethylene, silicon (the foreign crystal of the test), and any from a file."""

from pathlib import Path

import numpy as np
from ase.data import atomic_numbers
from ase.geometry import cellpar_to_cell
from ase.spacegroup import Spacegroup
from ase.spacegroup.spacegroup import parse_sitesym

from workflow_scripts.formats.crystals import (
    DEFAULT_DEBYE_WALLER_A2,
    SOFT_DEBYE_WALLER_A2,
    Crystal,
    expanded,
    merged,
    read_crystal,
)
from workflow_scripts.formats.endings import CIF, CUBE, has_ending
from workflow_scripts.workflow.errors import InputError


def _polyethylene() -> Crystal:
    """Orthorhombic, Pnam, two chains along c: cell and carbon of Bunn (doi:10.1039/TF9393500482).

    Hydrogens, which he did not locate, at C–H 1.09 Å in the plane of their carbon across c, with the tetrahedral angle
    between them.
    """
    cell = cellpar_to_cell((7.40, 4.93, 2.534, 90, 90, 90))
    sites = np.array([[0.038, 0.065, 0.25], [0.00369, 0.28002, 0.25], [0.18449, 0.04188, 0.25]])
    numbers = np.array([atomic_numbers[symbol] for symbol in ("C", "H", "H")])
    operations = [
        *("x,y,z", "-x,-y,z+1/2", "x+1/2,-y+1/2,-z+1/2", "-x+1/2,y+1/2,-z"),
        *("-x,-y,-z", "x,y,-z+1/2", "-x+1/2,y+1/2,z+1/2", "x+1/2,-y+1/2,z"),
    ]
    unit = Crystal("polyethylene", cell, sites, numbers, np.ones(3), np.full(3, SOFT_DEBYE_WALLER_A2))
    return merged(expanded(unit, parse_sitesym(operations)))


def _silicon() -> Crystal:
    """Lattice parameter: CODATA 2022 (doi:10.1103/RevModPhys.97.025002)."""
    cell = cellpar_to_cell((5.43102, 5.43102, 5.43102, 90, 90, 90))
    numbers = np.array([atomic_numbers["Si"]])
    unit = Crystal("silicon", cell, np.zeros((1, 3)), numbers, np.ones(1), np.full(1, DEFAULT_DEBYE_WALLER_A2))
    return merged(expanded(unit, Spacegroup(227).get_op()))


BUILT_IN = {"polyethylene": _polyethylene, "silicon": _silicon}


def load(crystal: str) -> Crystal:
    """The crystal that a setting names: a built-in one, or the path of a .cif or .cube.

    Raises:
        InputError: it is neither, or the file cannot be used.
    """
    if crystal in BUILT_IN:
        return BUILT_IN[crystal]()
    if not has_ending(crystal, CIF + CUBE):
        raise InputError(f"there is no crystal {crystal!r}; take {', '.join(BUILT_IN)}, or the path of a .cif or .cube")
    return read_crystal(Path(crystal))
