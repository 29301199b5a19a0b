"""Endings of file names by format, in lower case: one table for all readers, which accept them in any case."""

from pathlib import Path

HDF5 = (".h5", ".hdf5", ".hdf", ".nxs", ".emd")
NPY = (".npy",)
NPZ = (".npz",)
TIFF = (".tif", ".tiff")
PNG = (".png",)
JPEG = (".jpg", ".jpeg")
MRC = (".mrc", ".map")  # an image or a volume
MRC_STACK = (".mrcs", ".st")
STAR = (".star", ".xmd")
XRADIA = (".xrm", ".txrm")
PDB = (".pdb", ".ent")
MMCIF = (".cif", ".mmcif")


def has_ending(path: Path | str, endings: tuple[str, ...]) -> bool:
    """Whether a file has one of these endings; `HDF5 + NPY` joins two formats."""
    return Path(path).suffix.lower() in endings


def is_hdf5(path: Path | str) -> bool:
    """Whether the content of a file is HDF5, whatever its name; False where there is no such file."""
    import h5py  # here, since settings read this table and the import takes long

    return Path(path).is_file() and h5py.is_hdf5(path)
