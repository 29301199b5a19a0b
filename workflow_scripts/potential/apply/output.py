"""The potential of the user's specimen in files: .h5 with everything, a TIFF with its scale, a preview."""

from pathlib import Path

import h5py
import numpy as np
import tifffile

from workflow_scripts.study.figures import save_panels


def write_h5(
    path: Path,
    potential: np.ndarray,
    potential_limited: np.ndarray,
    shares: np.ndarray,
    pixel_size_a: float,
    about: dict[str, str | float],
) -> None:
    """Potential, its band-limited part and the four shares with units and pixel size; equal arrays give equal bytes.

    Args:
        potential: float32 (N, H, W), V Å; a single image is written as (H, W).
        potential_limited: the same, band-limited at 2α/λ.
        shares: float32 (N, 4, H, W), of the beam on the network's segments; written as (4, H, W) for a single image.
        pixel_size_a: side of a pixel, Å.
        about: attributes of the file.
    """
    arrays = {
        "potential": (potential, "V Å"),
        "potential_limited": (potential_limited, "V Å"),
        "shares": (shares, "share of the incident electrons"),
    }
    with h5py.File(path, "w") as file:
        for name, (array, unit) in arrays.items():
            dataset = file.create_dataset(name, data=array[0] if len(array) == 1 else array)
            dataset.attrs["unit"] = unit
            dataset.attrs["pixel_size_a"] = pixel_size_a
        for key, value in about.items():
            file.attrs[key] = value


def write_tiff(path: Path, potential: np.ndarray, pixel_size_a: float) -> None:
    """The potential (N, H, W), V Å, as float32 TIFF that ImageJ opens with its scale, Å per pixel in the tags."""
    per_a = 1 / pixel_size_a
    single = len(potential) == 1
    tifffile.imwrite(
        path,
        potential[0] if single else potential,
        imagej=True,
        resolution=(per_a, per_a),
        metadata={"axes": "YX" if single else "TYX", "unit": "angstrom", "Info": "projected potential in V angstrom"},
    )


def write_preview(path: Path, shares: np.ndarray, potential: np.ndarray, pixel_size_a: float) -> None:
    """A preview, .png: the measured images beside the potential; reproducible bytes.

    Args:
        shares: (4, H, W).
        potential: (2, H, W), V Å: at full resolution, and band-limited at 2α/λ.
        pixel_size_a: side of a pixel, Å.
    """
    panels = {
        "sum of the segments\n(share of the beam)": shares.sum(axis=0),
        "difference along y\n(share of the beam)": shares[0] + shares[3] - shares[1] - shares[2],
        "potential\n(V Å)": potential[0],
        "band-limited at 2α/λ\n(V Å)": potential[1],
    }
    save_panels(path, panels, pixel_size_a)
