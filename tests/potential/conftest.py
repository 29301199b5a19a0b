"""What the tests of the potential method share."""

import ase
import numpy as np
from ase.neighborlist import neighbor_list


def as_atoms(crystal, pbc=True):
    """The crystal as ase has it, x first."""
    return ase.Atoms(crystal.symbols, positions=crystal.positions_a[:, ::-1], cell=crystal.cell_a[::-1], pbc=pbc)


def density(crystal):
    """g/cm³."""
    atoms = as_atoms(crystal)
    return atoms.get_masses().sum() / 0.602214076 / atoms.get_volume()


def distances(crystal, cutoff_a=4.0):
    """Of each pair of elements the distances in Å up to a cutoff, sorted; of a crystal or of ase's atoms."""
    atoms = crystal if isinstance(crystal, ase.Atoms) else as_atoms(crystal)
    first, second, distance = neighbor_list("ijd", atoms, cutoff_a)
    symbols = np.array(atoms.get_chemical_symbols())
    pairs = {}
    for a, b, d in zip(symbols[first], symbols[second], distance, strict=True):
        pairs.setdefault((str(a), str(b)), []).append(float(d))
    return {pair: np.sort(values) for pair, values in pairs.items()}


def same_distances(first, second, tolerance_a, cutoff_a=4.0):
    """Asserts that two cells of one crystal have the same distances per atom."""
    mine, other = distances(first, cutoff_a), distances(second, cutoff_a)
    assert mine.keys() == other.keys()
    atoms = [len(each.symbols) for each in (first, second)]
    for pair, values in mine.items():
        assert len(values) * atoms[1] == len(other[pair]) * atoms[0], pair
        assert np.allclose(np.repeat(values, atoms[1]), np.repeat(other[pair], atoms[0]), atol=tolerance_a), pair
