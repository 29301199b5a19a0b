"""Poses as RELION's .star and Xmipp's .xmd."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from workflow_scripts.formats.particles import CTF_LABELS, CtfParameters
from workflow_scripts.formats.poses import to_relion, to_xmipp
from workflow_scripts.formats.star import Table, write_tables

# RELION refuses an optics table without these; it corrects no CTF without rlnDefocusU, so they then have no effect.
_PLACEHOLDERS = (300.0, 2.7, 0.1)
_OPTICS = ("rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast")


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
        image_names: (N,), such as 000001@stack.mrcs. Ours are read relative to the .star or to a folder above it,
            RELION's relative to where it is started.
        angle_deg: (N,), in our convention (see `poses`).
        shift_px: (N, 2) as [y, x].
        box_px: pixels along each side.
        pixel_size_a: Å; None writes 1, so that RELION's offsets in Å are pixels.
        score: (N,), written as rlnParticleFigureOfMerit.
        ctf: None writes no defocus.
        carried: columns of the .star that the particles came from; RELION's labels that are not written here (such as
            rlnMicrographName and rlnCoordinateX) are handed on.
        added: further columns, (N,) each, of labels that are nobody else's.

    Raises:
        ValueError: the arguments differ in length, or a value is not finite.
    """
    pixel_a = 1.0 if pixel_size_a is None else pixel_size_a
    microscopes = np.tile(_PLACEHOLDERS, (len(image_names), 1))
    particles: dict[str, Sequence] = {"rlnImageName": list(image_names)}
    particles |= to_relion(angle_deg, shift_px, pixel_a)
    if ctf is not None:
        columns = {labels[0]: getattr(ctf, name) for name, labels in CTF_LABELS.items()}
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
    # Poses in pixels and the pixel size of RELION 3.0 would contradict what is written here.
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
        columns |= {labels[1]: getattr(ctf, name) for name, labels in CTF_LABELS.items() if labels[1]}
    write_tables(path, {"noname": columns}, xmipp=True)
