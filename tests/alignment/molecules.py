"""Molecules as text, and the error messages about files."""

import pytest

from workflow_scripts.workflow.errors import InputError

MMCIF_HEAD = "data_x\nloop_\n_atom_site.type_symbol\n_atom_site.Cartn_x\n_atom_site.Cartn_y\n_atom_site.Cartn_z\n"


def pdb_line(symbol, x, y, z, *, name=" CA ", alternative=" ", residue="MET", record="ATOM"):
    """One record of the format 3.3; the residue counts up with z, so that names differ."""
    return (
        f"{record:<6}{1:>5} {name:<4}{alternative}{residue:>3} A{1:>4}    {x:8.3f}{y:8.3f}{z:8.3f}"
        f"{1.0:6.2f}{20.0:6.2f}          {symbol:>2}"
    )


def pdb_text(atoms):
    return "\n".join(pdb_line(*atom) for atom in atoms) + "\nEND\n"


def mmcif_text(atoms):
    return MMCIF_HEAD + "\n".join(" ".join(map(str, atom)) for atom in atoms) + "\n#\n"


def sentence(path, reader, *arguments):
    """The error message: one sentence that names the file."""
    with pytest.raises(InputError) as caught:
        reader(path, *arguments)
    text = str(caught.value)
    assert str(path) in text and "\n" not in text and len(text) < 300 + len(str(path))
    return text
