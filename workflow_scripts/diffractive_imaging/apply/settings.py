"""Settings of the user's 4D-STEM scans: one entry of `apply.diffractive_imaging`."""

from typing import Literal

from pydantic import Field, model_validator

from workflow_scripts.formats.endings import check_array
from workflow_scripts.workflow.settings import Settings


class UserProbe(Settings):
    """The probe of the user's scan: from parameters, or the wave in a file."""

    file: str | None = Field(
        default=None,
        description="Path of a .npy file with the complex probe wave in real space, (detector_px, detector_px),"
        " centred, axes as the patterns were recorded; null makes it from the parameters below. The voltage, the"
        " semiangle and the radius give the pixel size in any case.",
    )
    voltage_kv: float = Field(ge=1, le=1500, description="Accelerating voltage, kV.")
    semiangle_mrad: float = Field(gt=0, le=200, description="Convergence semiangle, mrad.")
    defocus_a: float = Field(default=0.0, description="Defocus, Å; positive is underfocus.")
    cs_mm: float = Field(default=0.0, description="Spherical aberration, mm.")
    aperture_radius_px: float | None = Field(
        default=None,
        gt=0,
        description="Radius of the bright-field disc, pixels as recorded; null finds it in the mean pattern.",
    )
    amplitude: Literal["aperture", "mean_pattern"] = Field(
        default="aperture",
        description="Amplitude in the aperture: uniform up to its rim, or the square root of the mean pattern, with its"
        " halo.",
    )


class Apply(Settings):
    """A 4D-STEM scan of the user's, from its file to a phase image."""

    patterns: str = Field(
        description="Path of the patterns, .npy or .h5: counts (N, H, W) or (Ry, Rx, H, W), of any type of number."
    )
    dataset: str | None = Field(default=None, description="Path of the patterns inside the .h5 file.")
    counts_per_electron: float = Field(
        default=1.0, gt=0, description="What the detector counts for one electron; 1 for a counting detector."
    )
    binning: int = Field(
        default=1, ge=1, le=64, description="Recorded pixels along each side that are summed into one."
    )
    detector_px: int = Field(
        ge=16,
        le=1024,
        multiple_of=16,
        description="Pixels along each side of a pattern after cropping around the bright-field disc and binning.",
    )
    center_px: tuple[float, float] | None = Field(
        default=None,
        description="Centre [y, x] of the bright-field disc, pixels as recorded; null finds it in the mean pattern.",
    )
    upsampling: Literal[1, 2, 4] = Field(
        default=4,
        description="Fine pixels per object pixel in a patch, which spans detector_px / upsampling object pixels and"
        " should hold the probe: 4 for a focused one, 1 for a defocused one that fills the window.",
    )
    positions: str | None = Field(
        default=None,
        description="Path of the scan positions, .npy or .h5, (N, 2) as [y, x]; null for a raster of step step_a.",
    )
    positions_dataset: str | None = Field(default=None, description="Path of the positions inside the .h5 file.")
    positions_unit: Literal["px", "angstrom"] = Field(
        default="px", description="Unit of the positions: object px or Å."
    )
    step_a: float | None = Field(default=None, gt=0, description="Step of the raster along both axes, Å.")
    scan_shape: tuple[int, int] | None = Field(
        default=None, description="Scan points [rows, columns] of the raster; null takes them from (Ry, Rx, H, W)."
    )
    rotation: float | Literal["search"] = Field(
        default=0.0,
        description="Angle in degrees by which the scan's axes are rotated from +x to +y to lie along the detector's;"
        " search finds it, and whether the detector is transposed, from the patterns.",
    )
    detector_transposed: bool = Field(
        default=False, description="Whether the recorded patterns have x and y exchanged; a search finds this too."
    )
    probe: UserProbe = Field(description="The probe.")
    dose_min_e: float = Field(gt=0, description="Smallest dose of the training noise, electrons per pattern.")
    dose_max_e: float = Field(gt=0, description="Largest dose of the noise; the scan's mean must lie between the two.")

    @model_validator(mode="after")
    def _is_complete(self) -> "Apply":
        for name, path, inside in (
            ("patterns", self.patterns, self.dataset),
            ("positions", self.positions, self.positions_dataset),
        ):
            if path is not None:
                check_array(path, inside, name)
        if (self.positions is None) == (self.step_a is None):
            raise ValueError("give either positions or step_a")
        if self.rotation == "search" and self.positions is not None:
            raise ValueError("rotation: search needs a raster (step_a), not a file of positions")
        if self.dose_min_e > self.dose_max_e:
            raise ValueError("dose_min_e must not exceed dose_max_e")
        return self

    def files(self) -> dict[str, str]:
        """The user's files that the entry names, by key."""
        paths = {"patterns": self.patterns, "positions": self.positions, "probe.file": self.probe.file}
        return {key: path for key, path in paths.items() if path is not None}

    def results(self) -> list[str]:
        """Output files whose rules make everything for the entry."""
        return ["phase.h5"]

    def inputs(self, where: str = "") -> dict[str, list[str]]:
        """The files to read, by the name of the rule's input.

        where: path of this entry in the configuration, ending in a dot, for messages.
        """
        paths = {"patterns_file": self.patterns, "positions_file": self.positions, "probe_file": self.probe.file}
        return {key: [path] if path else [] for key, path in paths.items()}
