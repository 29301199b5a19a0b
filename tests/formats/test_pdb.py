"""Atoms of .pdb and mmCIF files: what is read, and one sentence for what cannot be."""

import gzip

import numpy as np
import pytest

from tests.alignment.molecules import MMCIF_HEAD, mmcif_text, pdb_line, pdb_text, sentence
from workflow_scripts.formats.pdb import read_atoms

SOME = [("C", 1.0, 2.0, 3.0), ("N", -4.5, 0.0, 12.25), ("ZN", 7.0, -8.0, 100.125)]


def saved(folder, text, name="some.pdb"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(("text", "ending"), [(pdb_text(SOME), "pdb"), (mmcif_text(SOME), "cif")])
def test_elements_and_positions_are_read_z_first(tmp_path, text, ending):
    for path in (
        saved(tmp_path, text, f"some.{ending}"),
        saved(tmp_path, gzip.compress(text.encode(), mtime=0), f"some.{ending}.gz"),
    ):
        atoms = read_atoms(path)
        assert atoms.symbols.tolist() == ["C", "N", "Zn"]
        np.testing.assert_allclose(atoms.positions_a, [[3, 2, 1], [12.25, 0, -4.5], [100.125, -8, 7]])


def test_a_pdb_counts_its_first_model_and_first_alternatives_and_no_water(tmp_path):
    lines = [
        pdb_line("C", 0, 0, 1, name=" CA ", alternative="A"),
        pdb_line("C", 0, 0, 2, name=" CA ", alternative="B"),
        pdb_line("O", 0, 0, 3, residue="HOH", record="HETATM"),
        pdb_line("", 0, 0, 4, name="CA  ", record="HETATM", residue=" CA"),
        pdb_line("", 0, 0, 5, name=" CA "),
        pdb_line("", 0, 0, 6, name="1HB "),
        "ENDMDL",
        pdb_line("C", 0, 0, 7),
    ]
    atoms = read_atoms(saved(tmp_path, "\n".join(lines)))
    assert atoms.symbols.tolist() == ["C", "Ca", "C", "H"]
    assert atoms.positions_a[:, 0].tolist() == [1, 4, 5, 6]


def test_an_mmcif_counts_its_first_model_and_first_alternatives_and_no_water(tmp_path):
    rows = [
        'C . MET A 1 "C5\'" 0 0 1 1',
        "C A MET A 1 CA 0 0 2 1",
        "C B MET A 1 CA 0 0 3 1",
        "O . HOH B 1 O 0 0 4 1",
        "N . MET A 1 N 0 0 5 2",
    ]
    head = "label_alt_id label_comp_id label_asym_id label_seq_id label_atom_id Cartn_x Cartn_y Cartn_z"
    columns = ["type_symbol", *head.split(), "pdbx_PDB_model_num"]
    text = "data_x\nloop_\n" + "\n".join(f"_atom_site.{name}" for name in columns) + "\n" + "\n".join(rows) + "\n#\n"
    atoms = read_atoms(saved(tmp_path, text, "x.cif"))
    assert atoms.positions_a[:, 0].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("text", "name", "words"),
    [
        (None, "absent.pdb", "no such file"),
        ("", "some.txt", "ending"),
        ("", "empty.pdb", "the file is empty"),
        ("REMARK nothing\nEND\n", "none.pdb", "no atoms"),
        (pdb_line("O", 0, 0, 0, residue="HOH"), "water.pdb", "no atoms"),
        (pdb_text(SOME)[:120], "cut.pdb", "no coordinates in line 2"),
        (pdb_text(SOME).replace("  12.250", "     nan"), "nan.pdb", "no number below"),
        (pdb_text(SOME).replace("  12.250", "99999.99"), "far.pdb", "no number below"),
        (pdb_text([("1", 0, 0, 0)]), "element.pdb", "element"),
        (bytes(range(256)) * 20, "binary.pdb", "no atoms"),
        (b"\x1f\x8b" + bytes(50), "broken.pdb.gz", "cannot be read"),
        (gzip.compress(pdb_text(SOME).encode(), mtime=0)[:-20], "cut.pdb.gz", "cannot be read"),
        ("data_x\n_cell.length_a 3\n", "none.cif", "_atom_site"),
        (MMCIF_HEAD + "#\n", "none.cif", "no atoms"),
        (mmcif_text(SOME).replace("12.25", ""), "short.cif", "Wrong number of values"),
        (mmcif_text(SOME).replace("12.25", "?"), "unknown.cif", "no coordinates in atom 2"),
    ],
)
def test_a_bad_file_is_named_in_one_sentence(tmp_path, text, name, words):
    path = tmp_path / name if text is None else saved(tmp_path, text, name)
    assert words in sentence(path, read_atoms)


def test_no_cut_of_a_file_ends_in_a_traceback(tmp_path):
    from workflow_scripts.workflow.errors import InputError

    for text, name in ((pdb_text(SOME), "some.pdb"), (mmcif_text(SOME), "some.cif")):
        read = 0
        for length in range(0, len(text), 3):
            try:
                read_atoms(saved(tmp_path, text[:length], name))
                read += 1
            except InputError as error:
                assert name in str(error) and "\n" not in str(error)
        assert read < len(text) / 3
