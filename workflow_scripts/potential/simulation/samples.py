"""The files of samples: segmented images, potential and metadata of the specimen, with the recipe's keys.

One .npz holds N samples; every array but `sampling` and the microscope's starts with an axis of N.

| key | shape | meaning |
|---|---|---|
| input | float32 (N, 4, H, W) | share of the incident electrons on each segment of the recipe's ring |
| input_matched | float32 (N, 4, H, W) | the same, of the ring that is matched to the aperture |
| sum | float32 (N, H, W) | of the four segments in `input` |
| potential | float32 (N, H, W) | projected along the beam, V Å, band-limited at Nyquist |
| potential_limited | float32 (N, H, W) | the same, band-limited at 2α/λ, what an image of the microscope can hold |
| thickness_nm | float64 (N,) | of the slices that were passed; of the recipe's MoS2 patches the nominal one |
| rotation | float64 (N, 3) | of the crystal [rz, rx, ry], degrees: about the beam from +y to +x, then about x and y |
| cell | float64 (N, 2) | height and width of the crystal's orthogonal cell, Å, before it is rotated |
| material, specimen, kind | str (N,) | the crystal; a name for its orientation; `filled` or `patch` |
| setting | str (N,) | how the microscope differed from the training's, such as `defocus_a=50`; empty if not at all |
| sampling | float64 () | side of a pixel, Å |
| detector | float64 (2, 2) | inner and outer angle of the recipe's ring and of the matched one, mrad |
| voltage_kv, semiangle_mrad | float64 () | of the probe |

Axes are [y, x]. Segment s of a ring covers the azimuths 90° s to 90° (s + 1), from +y towards +x.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import read_arrays
from workflow_scripts.workflow.rows import Rows, is_finite

FILLED, PATCH = "filled", "patch"
RING, MATCHED = "ring", "matched"  # the two detectors
_LARGE = ("input", "input_matched", "sum", "potential", "potential_limited")
_TEXTS = ("material", "specimen", "kind", "setting")
# Attributes of `Samples` that hold a row for each sample, by their keys in the file; the images come on top
_ROWS = {
    **{name: name for name in ("potential", "potential_limited", "thickness_nm")},
    "rotation": "rotation_deg",
    "cell": "cell_a",
    **{name: name for name in _TEXTS},
}


@dataclass(frozen=True)
class Microscope:
    """What all samples of a file share.

    ring_mrad: inner and outer angle of the detectors `ring` and `matched`.
    """

    pixel_size_a: float
    ring_mrad: dict[str, tuple[float, float]]
    voltage_kv: float
    semiangle_mrad: float


@dataclass(frozen=True)
class Samples:
    """N samples; shapes and units as in the file, see above.

    images: by detector, `ring` and `matched`; they and the potentials may be larger than the memory.
    """

    images: dict[str, np.ndarray | Rows]
    potential: np.ndarray | Rows
    potential_limited: np.ndarray | Rows
    thickness_nm: np.ndarray
    rotation_deg: np.ndarray
    cell_a: np.ndarray
    material: np.ndarray
    specimen: np.ndarray
    kind: np.ndarray
    setting: np.ndarray
    microscope: Microscope

    def __len__(self) -> int:
        return len(self.potential)

    @property
    def nominal_nm(self) -> np.ndarray:
        """Thickness (N,) rounded to nm, to group samples: whole slices make the exact one differ between materials."""
        return np.round(self.thickness_nm)

    def under(self, setting: str) -> "Samples":
        """The samples of one setting of the microscope; "" is that of the training."""
        return self.rows(self.setting == setting)

    def rows(self, chosen: np.ndarray) -> "Samples":
        """Some of the samples, by index or mask, in memory."""
        cut = {name: getattr(self, name)[chosen] for name in _ROWS.values()}
        return replace(self, images={name: image[chosen] for name, image in self.images.items()}, **cut)

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays of the file."""
        microscope = self.microscope
        return {
            "input": self.images[RING],
            "input_matched": self.images[MATCHED],
            "sum": self.images[RING].sum(axis=1),
            **{key: getattr(self, name) for key, name in _ROWS.items()},
            "sampling": np.float64(microscope.pixel_size_a),
            "detector": np.array([microscope.ring_mrad[RING], microscope.ring_mrad[MATCHED]], dtype=np.float64),
            "voltage_kv": np.float64(microscope.voltage_kv),
            "semiangle_mrad": np.float64(microscope.semiangle_mrad),
        }


def read_samples(paths: Sequence[Path], unreadable_becomes_zeros: bool = False, in_files: bool = False) -> Samples:
    """The samples of all files in their order.

    Args:
        in_files: images and potentials stay in the files until `Samples.rows` reads some.
        unreadable_becomes_zeros: as the recipe's loader does with a file that it cannot read: zeros in, zeros out.

    Raises:
        InputError: a file is broken, holds numbers that are not finite or arrays that do not fit each other, or was
            made for another microscope, or with images of another size, than the first.
    """
    parts: list[Samples | None] = []
    for path in paths:
        try:
            parts.append(_read(path, in_files))
        except InputError:
            if not unreadable_becomes_zeros:
                raise
            parts.append(None)
    readable = [samples for samples in parts if samples is not None]
    if not readable:
        raise InputError(f"none of the {len(paths)} files of samples can be read, such as {paths[0]}; make them again")
    made_for = readable[0].microscope, readable[0].potential.shape[1:]
    for path, samples in zip(paths, parts, strict=True):
        if samples is not None and (samples.microscope, samples.potential.shape[1:]) != made_for:
            raise InputError(f"{path} was made for another microscope or size than {paths[0]}; make the files again")
    return joined([samples or _zeros_like(readable[0]) for samples in parts], Rows if in_files else np.concatenate)


def joined(parts: Sequence[Samples], join: Callable[[list], np.ndarray | Rows] = np.concatenate) -> Samples:
    """Samples of one microscope, one after the other.

    Args:
        join: concatenates images, or potentials.
    """
    return replace(
        parts[0],
        images={name: join([samples.images[name] for samples in parts]) for name in (RING, MATCHED)},
        **{
            name: (join if name in _LARGE else np.concatenate)([getattr(samples, name) for samples in parts])
            for name in _ROWS.values()
        },
    )


def _read(path: Path, in_file: bool) -> Samples:
    shared = ("sampling", "detector", "voltage_kv", "semiangle_mrad")
    arrays = read_arrays(path, ("input", "input_matched", "sum", *_ROWS, *shared), _LARGE if in_file else ())
    shape = arrays["potential"].shape
    if len(shape) != 3 or 0 in shape:
        raise InputError(f"{path}: potential is {shape}, but must be (N, H, W); make the file again")
    n = shape[0]
    expected = dict.fromkeys(("sum", "potential_limited"), shape) | dict.fromkeys(("thickness_nm", *_TEXTS), (n,))
    expected |= dict.fromkeys(("input", "input_matched"), (n, 4, *shape[1:]))
    expected |= {"rotation": (n, 3), "cell": (n, 2), "detector": (2, 2)}
    for name, array in arrays.items():
        wanted = expected.get(name, shape if name == "potential" else ())
        if array.shape != wanted:
            raise InputError(f"{path}: {name} is {array.shape}, but must be {wanted}; make the file again")
        if name in _TEXTS:
            if array.dtype.kind != "U":
                raise InputError(f"{path}: {name} is not text; make the file again")
        elif array.dtype.kind != "f" or not is_finite(array):
            raise InputError(f"{path}: {name} holds what is not a finite number; make the file again")
    return Samples(
        images={RING: arrays["input"], MATCHED: arrays["input_matched"]},
        **{name: arrays[key] for key, name in _ROWS.items()},
        microscope=Microscope(
            pixel_size_a=float(arrays["sampling"]),
            ring_mrad={
                name: tuple(angles) for name, angles in zip((RING, MATCHED), arrays["detector"].tolist(), strict=True)
            },
            voltage_kv=float(arrays["voltage_kv"]),
            semiangle_mrad=float(arrays["semiangle_mrad"]),
        ),
    )


def _zeros_like(samples: Samples) -> Samples:
    """The samples that the recipe's loader substitutes for a file that it cannot read."""

    def zeros(array: np.ndarray | Rows) -> np.ndarray:
        return np.zeros(array.shape, array.dtype)

    return replace(
        samples,
        images={name: zeros(image) for name, image in samples.images.items()},
        potential=zeros(samples.potential),
        potential_limited=zeros(samples.potential_limited),
    )
