"""Settings of one entry of apply.potential: the user's segmented images, or 4D-STEM scan."""

from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from workflow_scripts.formats.endings import NPY, NPZ, TIFF, check_array, has_ending, is_hdf5
from workflow_scripts.workflow.settings import Settings

MRAD = Annotated[float, Field(ge=0, le=500)]


def _rises(ring: tuple[float, float]) -> tuple[float, float]:
    if ring[0] >= ring[1]:
        raise ValueError(f"the inner angle must be smaller than the outer, not {list(ring)}")
    return ring


RISES = AfterValidator(_rises)  # of [inner angle, outer angle]


class Apply(Settings):
    """Segmented images of the user's, from their files to a projected potential."""

    images: tuple[str, ...] | None = Field(
        default=None,
        description="Paths of four segment images (H, W), .tif, .npy or .h5, or of one file with all four: (4, H, W),"
        " or a .npz of samples, (4, H, W) or (N, 4, H, W).",
    )
    patterns: str | None = Field(
        default=None,
        description="Path of a 4D-STEM scan in place of images, .npy or .h5: counts (Ry, Rx, H, W) or (N, H, W).",
    )
    dataset: str | None = Field(
        default=None, description="Path of the data inside .h5 files, or name inside a .npz, where null means `input`."
    )
    scan_shape: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] | None = Field(
        default=None, description="Scan points [rows, columns] of patterns (N, H, W)."
    )
    center_px: tuple[float, float] | None = Field(
        default=None, description="Centre [y, x] of the bright-field disc, pixels; null finds it in the mean pattern."
    )
    disc_radius_px: float | None = Field(
        default=None,
        gt=0,
        description="Radius of that disc, pixels; it corresponds to the semiangle. null finds it in the mean pattern.",
    )
    pixel_size_a: float | None = Field(
        default=None, gt=0, le=10, description="Side of a pixel of the images, Å; null takes it from the .npz."
    )
    thickness_nm: float | None = Field(
        default=None, gt=0, le=300, description="Thickness of the specimen, nm; null takes it from the .npz."
    )
    rotation_deg: tuple[float, float, float] | None = Field(
        default=None,
        description="Rotation of the crystal [rz, rx, ry], degrees: about the beam from +y to +x, then tilts about x"
        " and y; null takes it from the .npz, else zeros.",
    )
    voltage_kv: float | None = Field(
        default=None, ge=1, le=1500, description="Accelerating voltage, kV; null takes it from the .npz."
    )
    semiangle_mrad: float | None = Field(
        default=None, gt=0, le=100, description="Convergence semiangle, mrad; null takes it from the .npz."
    )
    ring_mrad: Annotated[tuple[MRAD, MRAD], RISES] | None = Field(
        default=None,
        description="Inner and outer angle of the four segments, mrad; null takes them from the .npz, and for patterns"
        " the network's matched detector.",
    )
    segment_azimuth_deg: float = Field(
        default=0.0,
        description="Azimuth of the edge at which the first segment begins, degrees from +y (down the scan) towards +x"
        " (right); a multiple of 90 for images. For patterns: of the detector's +y, any angle.",
    )
    clockwise: bool = Field(
        default=False,
        description="Whether the next segments (for patterns: the detector's +x) follow from +x to +y, clockwise on the"
        " screen, not from +y to +x.",
    )
    offset: float = Field(default=0.0, description="Value of the images without any electrons, subtracted first.")
    incident: float | None = Field(
        default=None,
        gt=0,
        description="Value of a pixel if the detector receives the full beam, without specimen and after the offset;"
        " null takes 1 for a .npz (shares of the beam), for patterns their mean sum (the detector holds the whole"
        " beam), else it follows from counts_per_electron and dose_e_per_a2.",
    )
    counts_per_electron: float | None = Field(
        default=None, gt=0, description="Counts in the images per electron; 1 for a counting detector."
    )
    dose_e_per_a2: float | None = Field(
        default=None,
        gt=0,
        description="Dose, electrons per Å²; null takes incident / counts_per_electron / pixel_size_a².",
    )

    @model_validator(mode="after")
    def _is_complete(self) -> "Apply":
        if (self.images is None) == (self.patterns is None):
            raise ValueError("give either images or patterns")
        if self.images is not None:
            self._check_images(self.images)
        elif self.patterns is not None:
            self._check_patterns(self.patterns)
        known = self.patterns is not None or self.is_archive() or self.incident is not None
        if known and self.dose_e_per_a2 is None and self.counts_per_electron is None:
            raise ValueError("give dose_e_per_a2, or counts_per_electron, from which it follows")
        if not known and (self.dose_e_per_a2 is None or self.counts_per_electron is None):
            raise ValueError(
                "give incident, the counts of the full beam in a pixel, or both dose_e_per_a2 and counts_per_electron"
            )
        return self

    def _check_images(self, images: tuple[str, ...]) -> None:
        if len(images) not in (1, 4):
            raise ValueError(f"images: four segment images or one file that holds them are needed, not {len(images)}")
        if len(set(images)) < len(images):
            raise ValueError("images: each segment needs a separate file, but one is listed twice")
        for path in images:
            if not has_ending(path, TIFF + NPY + NPZ) and not is_hdf5(path):
                raise ValueError(f"images: {path} is none of .tif, .npy, .npz, .h5")
            if is_hdf5(path) and self.dataset is None:
                raise ValueError("images: a .h5 file needs dataset, the path of the image inside it")
            if has_ending(path, NPZ) and len(images) > 1:
                raise ValueError("images: a .npz holds all four segments, so name it alone")
        if self.dataset is not None and not any(has_ending(path, NPZ) or is_hdf5(path) for path in images):
            raise ValueError("dataset: applies to .h5 and .npz files only")
        for key in ("scan_shape", "center_px", "disc_radius_px"):
            if getattr(self, key) is not None:
                raise ValueError(f"{key}: applies to patterns, not to images")
        if self.segment_azimuth_deg % 90:
            # The images are only reordered, never resampled
            raise ValueError(
                f"segment_azimuth_deg: {self.segment_azimuth_deg:g} is no multiple of 90; rotate the scan, or resample"
                " the images, so that its axes run along the segments' edges, and add the angle to rz of rotation_deg"
            )
        for key in ("pixel_size_a", "thickness_nm", "voltage_kv", "semiangle_mrad", "ring_mrad"):
            if getattr(self, key) is None and not self.is_archive():
                raise ValueError(f"{key}: must be given, since only a .npz can hold it")

    def _check_patterns(self, patterns: str) -> None:
        check_array(patterns, self.dataset, "patterns")
        if self.offset != 0:
            raise ValueError("offset: applies to images; subtract it from the patterns beforehand")
        for key in ("pixel_size_a", "thickness_nm", "voltage_kv", "semiangle_mrad"):
            if getattr(self, key) is None:
                raise ValueError(f"{key}: must be given with patterns")

    def is_archive(self) -> bool:
        """Whether the images are a .npz of samples."""
        return self.images is not None and has_ending(self.images[0], NPZ)

    def files(self) -> dict[str, str]:
        """The user's files that the entry names, by key."""
        if self.patterns is not None:
            return {"patterns": self.patterns}
        return {f"images.{number}": path for number, path in enumerate(self.images or ())}

    def results(self) -> list[str]:
        """Output files whose rules make everything for the entry."""
        return ["potential.h5"]

    def inputs(self, where: str = "") -> dict[str, list[str]]:
        """The files to read, by the name of the rule's input.

        where: path of this entry in the configuration, ending in a dot, for messages.
        """
        return {"image_files": list(self.images or ()), "patterns_file": [self.patterns] if self.patterns else []}
