"""The user's particles from .mrcs, .star or .xmd, as one class with images, pixel size, CTF and poses.

Images stay in their files and are read in batches, so a stack may be larger than the memory. A new format is opened in
`open_particles`; the endings that a method accepts are in its apply/settings.py.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from workflow_scripts.formats.endings import MRC, MRC_STACK, RELION, XMIPP, has_ending
from workflow_scripts.formats.mrc import Stack, open_stack
from workflow_scripts.formats.poses import from_relion, from_xmipp, to_relion, to_xmipp
from workflow_scripts.formats.star import Table, numbers, parse_image_name, read_tables, resolve, write_tables
from workflow_scripts.workflow.errors import InputError

# Labels in RELION's and Xmipp's tables, default (None: the label is required), and range of the values.
_CTF_LABELS = {
    "voltage_kv": ("rlnVoltage", "ctfVoltage", None, (10.0, 3000.0)),
    "cs_mm": ("rlnSphericalAberration", "ctfSphericalAberration", None, (-20.0, 20.0)),
    "amplitude_contrast": ("rlnAmplitudeContrast", "ctfQ0", None, (0.0, 1.0)),
    "defocus_u_a": ("rlnDefocusU", "ctfDefocusU", None, (-1e6, 1e6)),
    "defocus_v_a": ("rlnDefocusV", "ctfDefocusV", None, (-1e6, 1e6)),
    "defocus_angle_deg": ("rlnDefocusAngle", "ctfDefocusAngle", 0.0, (-720.0, 720.0)),
    "b_factor_a2": ("rlnCtfBfactor", "", 0.0, (-1000.0, 10_000.0)),
    "phase_shift_deg": ("rlnPhaseShift", "", 0.0, (-720.0, 720.0)),
}

# RELION requires these in an optics table; without rlnDefocusU it corrects no CTF, so that they have no effect.
_PLACEHOLDERS = (300.0, 2.7, 0.1)
_OPTICS = ("rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast")


def index_batches(count: int, size: int) -> Iterator[np.ndarray]:
    """The indices 0 … count − 1 in batches of at most `size`."""
    for start in range(0, count, size):
        yield np.arange(start, min(start + size, count))


def spaced(count: int, most: int) -> np.ndarray:
    """At most `most` evenly spaced indices out of 0 … count − 1."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(int))


@dataclass(frozen=True)
class CtfParameters:
    """Parameters of `optics.ctf.ctf`, with its names and units: float64 (N,), one value per particle."""

    defocus_u_a: np.ndarray
    defocus_v_a: np.ndarray
    defocus_angle_deg: np.ndarray
    voltage_kv: np.ndarray
    cs_mm: np.ndarray
    amplitude_contrast: np.ndarray
    b_factor_a2: np.ndarray
    phase_shift_deg: np.ndarray

    def subset(self, indices: np.ndarray) -> "CtfParameters":
        """The parameters of these particles."""
        return CtfParameters(**{name: values[indices] for name, values in vars(self).items()})


@dataclass(frozen=True)
class ParticleStack:
    """Particles in one or several stacks; made by `open_particles`.

    Attributes:
        path: the user's file.
        stacks: the stacks with the images.
        stack_index, image_index: (N,), number of the stack of each particle, and of its image in the stack, from 0.
        rows: (N,), row of each particle in the list, or number in the stack, from 1; for error messages.
        box_px: pixels along each side.
        pixel_size_a: Å; None if neither table nor header states it.
        ctf: None if the table has no defocus.
        columns: columns of the .star or .xmd as text, to be copied into new lists; empty for a stack.
        sign: 1, or −1 if density is dark in the file; `read` multiplies by it, so that density is bright.
        remarks: oddities of the files and how they were interpreted.
    """

    path: Path
    stacks: tuple[Stack, ...]
    stack_index: np.ndarray
    image_index: np.ndarray
    rows: np.ndarray
    box_px: int
    pixel_size_a: float | None
    ctf: CtfParameters | None = None
    columns: Table = field(default_factory=dict)
    sign: int = 1
    remarks: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.image_index)

    def read(self, indices: np.ndarray) -> np.ndarray:
        """Images of these particles, float32 (k, n, n) with axes [y, x], density bright.

        Raises:
            InputError: an image cannot be read or holds values that are not finite.
        """
        indices = np.asarray(indices)
        images = np.empty((len(indices), self.box_px, self.box_px), dtype=np.float32)
        owner = self.stack_index[indices]
        for k in np.unique(owner):
            here = np.flatnonzero(owner == k)
            images[here] = self.stacks[k].read(self.image_index[indices[here]])
        return images if self.sign == 1 else np.negative(images, out=images)

    def subset(self, indices: np.ndarray) -> "ParticleStack":
        """Only these particles, in this order."""
        indices = np.asarray(indices)
        return replace(
            self,
            stack_index=self.stack_index[indices],
            image_index=self.image_index[indices],
            rows=self.rows[indices],
            ctf=self.ctf and self.ctf.subset(indices),
            columns={label: [column[k] for k in indices] for label, column in self.columns.items()},
        )

    def density_sign(self, at_most: int = 1000) -> tuple[int, float]:
        """Whether density is bright (1) or dark (−1) in the files, by comparing centre and rim of the mean image.

        The centre is a disc with a radius of a quarter of the box, the rim the outer fifth of the inscribed disc. Each
        image is divided by its standard deviation.

        Args:
            at_most: number of particles to use, evenly spaced.

        Returns:
            The sign, and the difference divided by its standard error over the particles: below 3 the sign is
            unreliable. Infinite if there is one particle, or all are equal.
        """
        axis = np.arange(self.box_px) - self.box_px // 2
        radius = np.hypot(axis[:, None], axis[None, :]) / self.box_px
        centre, rim = radius < 0.25, (radius > 0.4) & (radius <= 0.5)
        sample = replace(self, sign=1).subset(spaced(len(self), at_most))
        differences = []
        for indices in index_batches(len(sample), 128):
            images = sample.read(indices)
            spread = images.std(axis=(1, 2), dtype=np.float64)
            difference = images[:, centre].mean(axis=1) - images[:, rim].mean(axis=1)
            differences.append(difference / np.maximum(spread, np.finfo(np.float32).tiny))
        values = np.concatenate(differences)
        error = values.std() / np.sqrt(max(1, len(values) - 1))
        ratio = abs(values.mean()) / error if error > 0 else np.inf
        return (-1 if values.mean() < 0 else 1), float(ratio)

    def poses(self) -> tuple[np.ndarray, np.ndarray] | None:
        """angle_deg (N,) and shift_px (N, 2) from the table, in this project's convention; None if it has no angle.

        Raises:
            InputError: a value is not a number, a particle is flipped, or there are offsets in Å but no pixel size.
        """
        if "rlnAnglePsi" in self.columns:
            psi = self._column("rlnAnglePsi", 3600.0)
            in_angstrom = "rlnOriginXAngst" in self.columns
            if in_angstrom and self.pixel_size_a is None:
                raise InputError(f"{self.path}: has offsets in Å but no pixel size; add rlnImagePixelSize")
            unit = "Angst" if in_angstrom else ""
            origin = np.stack([self._column(f"rlnOrigin{axis}{unit}", 1e5) for axis in "YX"], axis=1)
            return from_relion(psi, origin, self.pixel_size_a if in_angstrom else 1.0)
        if "anglePsi" in self.columns:
            flipped = np.flatnonzero(self._column("flip", 1.0))
            if flipped.size:
                raise InputError(
                    f"{self.path}: row {self.rows[flipped[0]]} is flipped, which is not supported; leave it out"
                )
            shift = np.stack([self._column("shiftY", 1e5), self._column("shiftX", 1e5)], axis=1)
            return from_xmipp(self._column("anglePsi", 3600.0), shift)
        return None

    def image_names(self, folder: Path) -> list[str]:
        """Names such as 000001@stack.mrcs of all particles, relative to the folder of the list to be written."""
        base = Path(folder).absolute()
        names = [Path(os.path.relpath(stack.path.absolute(), base)).as_posix() for stack in self.stacks]
        pairs = zip(self.stack_index.tolist(), self.image_index.tolist(), strict=True)
        return [f"{image + 1:06d}@{names[stack]}" for stack, image in pairs]

    def _column(self, label: str, largest: float) -> np.ndarray:
        values = numbers(self.columns, label, self.path, (-largest, largest), self.rows)
        return np.zeros(len(self)) if values is None else np.array(values)


def open_particles(path: Path) -> ParticleStack:
    """Particles from a stack (.mrcs), or from a list of images (.star of RELION 3.0 or later, .xmd of Xmipp).

    Particles that Xmipp has disabled are left out. The pixel size is read from the table, otherwise from the headers.

    Raises:
        InputError: a file is absent, damaged or of another format, an image or stack is missing (the message names its
            row), or the particles differ in box or pixel size.
    """
    path = Path(path)
    if has_ending(path, MRC_STACK + MRC):
        stack = open_stack(path)
        images = np.arange(stack.n_images)
        places = {"stack_index": np.zeros_like(images), "image_index": images, "rows": images + 1}
        return ParticleStack(
            path, (stack,), box_px=stack.box_px, pixel_size_a=stack.pixel_size_a, remarks=stack.remarks, **places
        )
    if has_ending(path, RELION):
        return _from_table(path, *_relion_tables(path))
    if has_ending(path, XMIPP):
        return _from_table(path, *_xmipp_table(path))
    raise InputError(f"{path}: found the ending {path.suffix!r}, expected .mrcs, .star or .xmd; give a stack or a list")


def write_star(
    path: Path,
    image_names: Sequence[str],
    angle_deg: np.ndarray,
    shift_px: np.ndarray,
    *,
    box_px: int,
    pixel_size_a: float | None,
    score: np.ndarray | None = None,
    ctf: CtfParameters | None = None,
    carried: Table | None = None,
    added: Mapping[str, Sequence] | None = None,
) -> None:
    """A .star of RELION 3.1 or later: an optics table with a group for each microscope, and the particles.

    Args:
        path: the file.
        image_names: (N,), such as 000001@stack.mrcs. This project reads them relative to the .star or to a folder above
            it, RELION relative to the folder in which it is started.
        angle_deg: (N,), in this project's convention (see `poses`).
        shift_px: (N, 2) as [y, x].
        box_px: pixels along each side.
        pixel_size_a: Å; None writes 1, so that RELION's offsets in Å are pixels.
        score: (N,), written as rlnParticleFigureOfMerit.
        ctf: None writes no defocus.
        carried: columns of the user's .star; RELION's labels that are not written here (such as rlnMicrographName and
            rlnCoordinateX) are copied.
        added: further columns, (N,) each, with labels of this project.

    Raises:
        ValueError: the arguments differ in length, or a value is not finite.
    """
    pixel_a = 1.0 if pixel_size_a is None else pixel_size_a
    microscopes = np.tile(_PLACEHOLDERS, (len(image_names), 1))
    particles: dict[str, Sequence] = {"rlnImageName": list(image_names)}
    particles |= to_relion(angle_deg, shift_px, pixel_a)
    if ctf is not None:
        columns = {labels[0]: getattr(ctf, name) for name, labels in _CTF_LABELS.items()}
        microscopes = np.stack([columns.pop(label) for label in _OPTICS], axis=1)
        particles |= columns
    if score is not None:
        particles["rlnParticleFigureOfMerit"] = np.asarray(score, dtype=np.float64)
    groups, group = np.unique(microscopes, axis=0, return_inverse=True)
    particles["rlnOpticsGroup"] = group.reshape(-1) + 1
    numbered = range(1, len(groups) + 1)
    optics = {
        "rlnOpticsGroupName": [f"opticsGroup{k}" for k in numbered],
        "rlnOpticsGroup": list(numbered),
        **dict(zip(_OPTICS, groups.T, strict=True)),
        "rlnImagePixelSize": [pixel_a] * len(groups),
        "rlnImageSize": [box_px] * len(groups),
        "rlnImageDimensionality": [2] * len(groups),
    }
    # Not copied: poses in pixels and the pixel size of RELION 3.0 would contradict the new columns.
    superseded = {*particles, *optics, "rlnOriginX", "rlnOriginY", "rlnMagnification", "rlnDetectorPixelSize"}
    for label, column in (carried or {}).items():
        if label.startswith("rln") and label not in superseded:
            particles[label] = column
    particles |= added or {}
    write_tables(path, {"optics": optics, "particles": particles})


def write_xmd(
    path: Path,
    image_names: Sequence[str],
    angle_deg: np.ndarray,
    shift_px: np.ndarray,
    *,
    score: np.ndarray | None = None,
    ctf: CtfParameters | None = None,
) -> None:
    """An .xmd of Xmipp; the arguments are those of `write_star`, the score is written as maxCC.

    Raises:
        ValueError: the arguments differ in length, or a value is not finite.
    """
    columns: dict[str, Sequence] = {"image": list(image_names), "enabled": [1] * len(image_names)}
    columns |= to_xmipp(angle_deg, shift_px)
    if score is not None:
        columns["maxCC"] = np.asarray(score, dtype=np.float64)
    if ctf is not None:
        columns |= {labels[1]: getattr(ctf, name) for name, labels in _CTF_LABELS.items() if labels[1]}
    write_tables(path, {"noname": columns}, xmipp=True)


def _relion_tables(path: Path) -> tuple[Table, list[int], list[str]]:
    """Columns of the particles, including those of their optics groups, row numbers, and remarks."""
    tables, name, remarks = _block_of_images(path, "rlnImageName")
    particles = tables[name]
    optics = tables.get("optics")
    if optics and "rlnOpticsGroup" in particles:
        groups = {group: k for k, group in enumerate(optics.get("rlnOpticsGroup", []))}
        rows = []
        for row, group in enumerate(particles["rlnOpticsGroup"], start=1):
            if group not in groups:
                raise InputError(
                    f"{path}: row {row} belongs to the optics group {group[:40]!r}, which data_optics does not list; "
                    "add the group"
                )
            rows.append(groups[group])
        joined = {label: [column[k] for k in rows] for label, column in optics.items()}
        particles = joined | particles
    elif optics and all(len(column) == 1 for column in optics.values()):
        particles = {label: column * len(particles["rlnImageName"]) for label, column in optics.items()} | particles
    return particles, list(range(1, len(particles["rlnImageName"]) + 1)), remarks


def _xmipp_table(path: Path) -> tuple[Table, list[int], list[str]]:
    """Columns of the enabled particles, row numbers, and remarks."""
    tables, name, remarks = _block_of_images(path, "image")
    table = tables[name]
    count = len(table["image"])
    enabled = numbers(table, "enabled", path, (-1, 1)) or [1.0] * count
    kept = [k for k in range(count) if enabled[k] > 0]
    if len(kept) == count:
        return table, [k + 1 for k in kept], remarks
    remarks.append(f"{path}: {count - len(kept)} particles that are not enabled are left out")
    return {label: [column[k] for k in kept] for label, column in table.items()}, [k + 1 for k in kept], remarks


def _block_of_images(path: Path, column: str) -> tuple[dict[str, Table], str, list[str]]:
    """All tables, the name of the one to read (`particles`, or the first with this column), and remarks."""
    tables = read_tables(path)
    holding = [name for name, table in tables.items() if column in table]
    if not holding:
        listed = ", ".join(f"data_{name[:40]}" for name in list(tables)[:5])
        raise InputError(f"{path}: no block has a column {column}, found {listed}; give a list of particles")
    name, others = "particles" if "particles" in holding else holding[0], len(holding) - 1
    remarks = [f"{path}: data_{name[:40]} is read, {others} other blocks of images are not"] if others else []
    return tables, name, remarks


def _from_table(path: Path, table: Table, rows: list[int], remarks: list[str]) -> ParticleStack:
    names = table["rlnImageName" if "rlnImageName" in table else "image"]
    if not names:
        raise InputError(f"{path}: lists no particles; select some and export again")
    places: dict[str, int] = {}
    stacks: list[Stack] = []
    stack_index, image_index = np.empty((2, len(names)), dtype=np.int64)
    for k, (row, text) in enumerate(zip(rows, names, strict=True)):
        number, name = parse_image_name(text, path, row)
        if name not in places:
            places[name] = len(stacks)
            stacks.append(_listed_stack(name, path, row))
        stack = stacks[places[name]]
        if number is None and stack.n_images > 1:
            raise InputError(
                f"{path}: row {row} names {name}, a stack of {stack.n_images} images, without saying which; "
                f"write 000001@{name} for the first"
            )
        if (number or 1) > stack.n_images:
            raise InputError(
                f"{path}: row {row} names image {number} of {stack.path}, which has {stack.n_images}; "
                "copy the stack again or correct the row"
            )
        if stack.box_px != stacks[0].box_px:
            raise InputError(
                f"{path}: row {row} names an image of {stack.box_px} × {stack.box_px} pixels, the first has "
                f"{stacks[0].box_px} × {stacks[0].box_px}; extract all particles with one box"
            )
        stack_index[k], image_index[k] = places[name], (number or 1) - 1
    # Whether a pixel size is missing is decided by the caller, since the table may have one.
    odd = [remark for stack in stacks for remark in stack.remarks if "no pixel size" not in remark]
    return ParticleStack(
        path,
        tuple(stacks),
        stack_index,
        image_index,
        np.array(rows),
        stacks[0].box_px,
        _pixel_size_a(table, stacks, path, rows),
        _ctf_parameters(table, path, rows),
        table,
        remarks=(*remarks, *odd),
    )


def _listed_stack(name: str, path: Path, row: int) -> Stack:
    stack = resolve(name, path)
    if stack is None:
        raise InputError(
            f"{path}: row {row} names the stack {name[:200]}, which is neither beside the list nor relative to a "
            "folder above it; move the list into its project, or correct the row"
        )
    try:
        return open_stack(stack)
    except InputError as error:
        raise InputError(f"{path}: row {row} names a stack that cannot be used: {error}") from None


def _pixel_size_a(table: Table, stacks: list[Stack], path: Path, rows: list[int]) -> float | None:
    """Pixel size in Å of all particles: rlnImagePixelSize, or detector pixel and magnification, or the headers."""
    sizes = numbers(table, "rlnImagePixelSize", path, (0.05, 100.0), rows)
    detector_um = numbers(table, "rlnDetectorPixelSize", path, (1e-4, 1e4), rows)
    magnification = numbers(table, "rlnMagnification", path, (1.0, 1e8), rows)
    if sizes is None and detector_um and magnification:
        sizes = [1e4 * pixel / times for pixel, times in zip(detector_um, magnification, strict=True)]
        if min(sizes) < 0.05 or max(sizes) > 100:
            raise InputError(
                f"{path}: rlnDetectorPixelSize and rlnMagnification make pixels of {min(sizes):.3g} to "
                f"{max(sizes):.3g} Å, expected 0.05 to 100 Å; correct them"
            )
    if sizes is None:
        sizes = [stack.pixel_size_a for stack in stacks if stack.pixel_size_a is not None]
        if len(sizes) < len(stacks):
            return None
    if max(sizes) - min(sizes) > 0.01 * min(sizes):
        raise InputError(
            f"{path}: its particles have pixel sizes from {min(sizes):g} to {max(sizes):g} Å, expected one; "
            "align each group by itself, or scale them to one"
        )
    return sizes[0]


def _ctf_parameters(table: Table, path: Path, rows: list[int]) -> CtfParameters | None:
    relion = "rlnImageName" in table
    if ("rlnDefocusU" if relion else "ctfDefocusU") not in table:
        return None
    parameters = {}
    for name, (in_relion, in_xmipp, default, within) in _CTF_LABELS.items():
        label = in_relion if relion else in_xmipp
        # Xmipp has written the amplitude contrast with either sign.
        span = (-1.0, 1.0) if label == "ctfQ0" else within
        values = numbers(table, label, path, span, rows)
        if values is None and name == "defocus_v_a":
            values = parameters["defocus_u_a"].tolist()
        if values is None and default is None:
            raise InputError(
                f"{path}: has a defocus but no {label}; add it, or remove the defocus to align without CTF"
            )
        default_values = np.full(len(rows), default, dtype=np.float64)
        parameters[name] = default_values if values is None else np.abs(values) if span != within else np.array(values)
    return CtfParameters(**parameters)
