"""Endings of file names by format, in lower case: one table for all readers, which ignore case."""

from pathlib import Path

HDF5 = (".h5", ".hdf5", ".hdf", ".nxs", ".emd")
NPY = (".npy",)
NPZ = (".npz",)
TIFF = (".tif", ".tiff")
PNG = (".png",)
JPEG = (".jpg", ".jpeg")
MRC = (".mrc", ".map")  # an image or a volume
MRC_STACK = (".mrcs", ".st")
RELION = (".star",)
XMIPP = (".xmd",)
XRADIA = (".xrm", ".txrm")
PDB = (".pdb", ".ent", ".pdb.gz", ".ent.gz")
CIF = (".cif", ".mmcif", ".cif.gz", ".mmcif.gz")
CUBE = (".cube", ".cube.gz")
PACKED = (".gz",)


def has_ending(path: Path | str, endings: tuple[str, ...]) -> bool:
    """Whether a file has one of these endings; `HDF5 + NPY` joins two formats."""
    return str(path).lower().endswith(endings)


def without_ending(path: Path | str) -> str:
    """The name of a file without folder and ending; .gz and the ending before it count as one."""
    name = Path(path).name
    return Path(name[:-3] if has_ending(name, PACKED) else name).stem


def is_hdf5(path: Path | str) -> bool:
    """Whether a file is HDF5 by its ending or, whatever its name, by its content."""
    if has_ending(path, HDF5) or not Path(path).is_file():
        return has_ending(path, HDF5)
    import h5py  # here, since all settings import this module and h5py takes long to load

    return h5py.is_hdf5(path)


def is_array(path: Path | str) -> bool:
    """Whether a file holds arrays: HDF5 or .npy."""
    return has_ending(path, NPY) or is_hdf5(path)


def check_array(path: str, dataset: str | None, key: str) -> None:
    """Check that a setting names a file of arrays, and what `check_dataset` does.

    Raises:
        ValueError: it does not; the message begins with the key of the file.
    """
    if not is_array(path):
        raise ValueError(f"{key}: {path} is neither .npy nor .h5")
    check_dataset(path, dataset, key)


def check_dataset(path: str, dataset: str | None, key: str) -> None:
    """Check that a dataset is given if and only if the file is HDF5; raises ValueError as `check_array` does."""
    if is_hdf5(path) != (dataset is not None):
        raise ValueError(f"{key}: a .h5 file needs the path of the dataset inside it, a .npy file has none")
