"""Atoms, weights, configurations and other text."""

import gzip
import hashlib
import io
import json

import numpy as np
import safetensors.torch
import torch
import yaml
from snakemake.common.configfile import load_configfile
from snakemake.exceptions import WorkflowError

from tests.fuzz.kinds import Planted, Reader
from tests.fuzz.mutations import of_array
from workflow_scripts.formats.pdb import read_atoms
from workflow_scripts.formats.tile_configuration import read_layout
from workflow_scripts.learning import checkpoints, weights
from workflow_scripts.matching.simulation.crystals import read_crystal
from workflow_scripts.potential.simulation.structures import read_structure
from workflow_scripts.workflow.closure import ROOT
from workflow_scripts.workflow.configuration import checked
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import json_text, read_json
from workflow_scripts.workflow.provenance import sealed
from workflow_scripts.workflow.verify import findings

# Atoms


CIF = """data_test
_cell_length_a 3.905
_cell_length_b 3.905
_cell_length_c 3.905
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_space_group_name_H-M_alt 'P m -3 m'
_space_group_IT_number 221
_chemical_formula_sum 'Sr Ti O3'
loop_
_space_group_symop_operation_xyz
'x,y,z'
'-x,-y,z'
'z,x,y'
'y,z,x'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
_atom_site_U_iso_or_equiv
Sr1 Sr 0 0 0 1 0.005
Ti1 Ti 0.5 0.5 0.5 1 0.005
O1 O 0.5 0.5 0 1.0 ?
"""


def _cif(rng, folder):
    text = CIF
    if rng.random() < 0.4:
        first, last = text.index("loop_"), text.index("loop_\n_atom")
        text = text[:first] + text[last:]
    return text.encode()


def _of_crystal(path):
    found = read_crystal(path)
    return [found.lattice_a, found.fractional, found.numbers, found.occupancy, found.debye_waller_a2]


def _of_structure(path):
    found = read_structure(path)
    return [found.positions_a, np.array(found.cell_a), np.array(found.debye_waller_a2)]


def _cube(rng, folder):
    lines = ["a cell", "of silicon", "8 0.0 0.0 0.0", "4 2.56 0 0", "4 0 2.56 0", "4 0 0 2.56"]
    for place in ((0, 0, 0), (0, 2, 2), (2, 0, 2), (2, 2, 0), (1, 1, 1), (1, 3, 3), (3, 1, 3), (3, 3, 1)):
        lines.append("14 14.0 " + " ".join(f"{2.56 * part:.5f}" for part in place))
    lines += [" ".join(f"{value:.5E}" for value in row) for row in rng.random((16, 4))]
    return "\n".join(lines).encode()


def _gz(make):
    def zipped(rng, folder):
        return gzip.compress(make(rng, folder), mtime=0)

    return zipped


def _pdb(rng, folder):
    lines = [
        f"ATOM  {k:5d}  CA  ALA A{k:4d}    {x:8.3f}{y:8.3f}{z:8.3f}  1.00 10.00           C"
        for k, (x, y, z) in enumerate(rng.normal(size=(6, 3)) * 10, start=1)
    ]
    return "\n".join(["HEADER    TEST", *lines, "ENDMDL", "END"]).encode()


def _mmcif(rng, folder):
    names = ("group_PDB", "id", "type_symbol", "label_atom_id", "label_alt_id", "label_comp_id", "Cartn_x", "Cartn_y")
    lines = ["data_TEST", "#", "loop_", *(f"_atom_site.{name}" for name in (*names, "Cartn_z", "pdbx_PDB_model_num"))]
    for k, (x, y, z) in enumerate(rng.normal(size=(6, 3)) * 10, start=1):
        lines.append(f'ATOM {k} C "C{k}\'" . ALA {x:.3f} {y:.3f} {z:.3f} 1')
    return "\n".join([*lines, "#"]).encode()


def _of_atoms(path):
    return [read_atoms(path).positions_a]


# Weights


def _network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3))


def _weights(rng, folder):
    return weights.to_bytes(weights.on_cpu(_network().state_dict()), {"network": "test", "settings": {"a": 1}})


def _weights_spoiled(rng, folder):
    if rng.random() < 0.15:
        file = io.BytesIO()
        torch.save({"0.weight": Planted()}, file)
        return file.getvalue()
    state = {name: value.numpy() for name, value in weights.on_cpu(_network().state_dict()).items()}
    name = str(rng.choice(list(state)))
    state[name] = of_array(rng, state[name])
    if rng.random() < 0.2:
        del state[name]
    tensors = {}
    for key, value in state.items():
        if value.dtype.kind in "fiub" and value.dtype.itemsize < 16:
            tensors[key] = torch.from_numpy(np.ascontiguousarray(value.astype(value.dtype.newbyteorder("="))))
    about = rng.choice(["{}", "[]", "null", "[" * 100_000, '{"network": NaN}', "1" * 5000, '"text"', '{"run": {}}'])
    return safetensors.torch.save(tensors, {"beamtime": str(about)})


def _of_weights(path):
    model = _network()
    weights.read_metadata(path)
    weights.load_weights(model, path)
    return list(model.state_dict().values())


def _of_checkpoint(path):
    """The same bytes as the newest checkpoint of a training, under a name with the right digest."""
    folder = path.parent / "out"
    folder.mkdir(exist_ok=True)
    content = path.read_bytes()
    there = folder / f"step3-{hashlib.sha256(content).hexdigest()[:16]}.safetensors"
    there.write_bytes(content)
    try:
        found = checkpoints.load_newest(folder, {})
    finally:
        there.unlink()
        folder.rmdir()
    return [] if found is None else list(found.tensors.values())


def _checkpoint(rng, folder):
    tensors = weights.on_cpu(_network().state_dict())
    about = {"step": 3, "run": {}, "facts": {"best": 0.5}}
    if rng.random() < 0.3:
        del about[str(rng.choice(["step", "facts"]))]
    return weights.to_bytes(tensors, about)


# Configurations and other text


def _base():
    config = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    _merge(config, yaml.safe_load((ROOT / "scales/smoke.yaml").read_text(encoding="utf-8")))
    return config | {"scale": "smoke"}


def _merge(config, overlay):
    """As Snakemake merges a --configfile."""
    for key, value in overlay.items():
        if isinstance(value, dict) and isinstance(config.get(key), dict):
            _merge(config[key], value)
        else:
            config[key] = value


_OVERLAY = """seeds: [0, 1]
methods: [alignment, matching]
compute:
  gpus: 0
  threads: 2
alignment:
  synthesize:
    box_px: 48
    pixel_size_a: 2.5
  pretrain:
    epochs: 2
    learning_rate: 1.0e-3
apply:
  alignment:
    mine:
      particles: own.mrcs
      pixel_size_a: 2.0
      contrast: dark
  matching:
    map:
      patterns: folder
      crystal: polyethylene
      pixel_size_per_a: 0.02
      center_px: [20.0, 21.5]
"""


def _overlay(rng, folder):
    return _OVERLAY.encode()


def _overlay_spoiled(rng, folder):
    """Whole YAML with a value of another kind at a place that exists."""
    overlay = yaml.safe_load(_OVERLAY)
    values = (
        *(
            None,
            True,
            -1,
            0,
            10**30,
            1e308,
            float("nan"),
            float("inf"),
            "",
            "x" * 5000,
            "\x00",
            "a\nb",
            "é",
            "-x",
            "{a}",
        ),
        *([], {}, [[]], {"a": 1}, {1: 2}, "1e-3", "../../x", "; touch pwned", "$(touch pwned)", "'\"`", "/dev/zero"),
        *("x" * 300 + ".mrcs", "/" + "y" * 300 + "/a.mrcs", "\ud800", b"bytes"),
    )
    for _ in range(rng.integers(1, 3)):
        place = overlay
        while True:
            key = list(place)[int(rng.integers(len(place)))]
            if isinstance(place[key], dict) and place[key] and rng.random() < 0.8:
                place = place[key]
                continue
            value = values[int(rng.integers(len(values)))]
            if rng.random() < 0.2:
                place[str(value)] = place.pop(key)
            else:
                place[key] = value
            break
    return yaml.dump(overlay, Dumper=yaml.SafeDumper).encode("utf-8", errors="surrogatepass")


def _of_overlay(path):
    """As the Snakefile does it: Snakemake reads and merges, `checked` judges."""
    base = _base()
    try:
        overlay = load_configfile(path)
    except (WorkflowError, yaml.YAMLError, ValueError, RecursionError):
        return []  # Snakemake's own sentence
    _merge(base, overlay)
    try:
        checked(base)
    except InputError as error:
        # It names the key: there is no file to name
        raise InputError(f"{path.name}: {error}") from None
    return []


def _config_beside(folder):
    (folder / "own.mrcs").touch()  # only that it is there
    (folder / "folder").mkdir(exist_ok=True)
    (folder / "folder" / "image.tif").touch()


def _layout(rng, folder):
    lines = [f"tile_{k}.tif; ; ({k * 48.0}, {rng.random() * 5:.2f})" for k in range(6)]
    return "\n".join(["# Define the number of dimensions", "dim = 2", "", *lines]).encode()


def _of_layout(path):
    return [np.array(list(read_layout(path).values()))]


def _provenance(rng, folder):
    record = {
        **{"module": "workflow_scripts.matching.plot", "implementation": "", "settings": {"a.b": 1}, "inputs": {}},
        **{"outputs": {"results/smoke/a.npz": "0" * 64, "case.npz": "1"}, "code": {"config.yaml": "0" * 64}},
        "environment_lock": "0" * 64,
    }
    return json_text(sealed(record)).encode()


def _provenance_spoiled(rng, folder):
    record = json.loads(_provenance(rng, folder))
    values = (
        None,
        [],
        {},
        1,
        "x",
        "../..",
        "workflow_scripts",
        "os.path",
        "",
        "a..b",
        {"": "x"},
        {"a": None},
        [[1]],
        "x" * 999,
    )
    for _ in range(rng.integers(1, 3)):
        record[str(rng.choice([*record]))] = values[int(rng.integers(len(values)))]
    if rng.random() < 0.8:  # else what the seal is for
        record = sealed({key: value for key, value in record.items() if key != "seal"})
    content = json_text(record)
    if rng.random() < 0.2:
        content = str(rng.choice(["[" * 100_000, "1" * 5000, "NaN", "[]", "null", '{"a": ' * 50_000, '"\\ud800"']))
    return content.encode()


def _of_json(path):
    read_json(path)
    return []


def _of_provenance(path):
    list(findings(path.parent, {"workflow_scripts.matching.plot": {"a.b": 2}}))
    return []


READERS = {
    "configuration": Reader(
        ".yaml", _overlay, (_of_overlay,), text=True, header=2, spoiled=_overlay_spoiled, beside=_config_beside
    ),
    "cif": Reader(".cif", _cif, (_of_crystal, _of_structure), text=True, header=10),
    "cif_gz": Reader(".cif.gz", _gz(_cif), (_of_crystal, _of_structure), header=10),
    "cube": Reader(".cube", _cube, (_of_crystal, _of_structure), text=True, header=6),
    "pdb": Reader(".pdb", _pdb, (_of_atoms,), text=True, header=1),
    "pdb_gz": Reader(".pdb.gz", _gz(_pdb), (_of_atoms,), header=10),
    "mmcif": Reader(".cif", _mmcif, (_of_atoms,), text=True, header=13),
    "safetensors": Reader(".safetensors", _weights, (_of_weights,), header=8, spoiled=_weights_spoiled),
    "checkpoint": Reader(".safetensors", _checkpoint, (_of_checkpoint,), header=8, spoiled=_weights_spoiled),
    "layout": Reader(".txt", _layout, (_of_layout,), text=True, header=3),
    "provenance": Reader(
        "provenance.json", _provenance, (_of_json, _of_provenance), text=True, header=1, spoiled=_provenance_spoiled
    ),
}
