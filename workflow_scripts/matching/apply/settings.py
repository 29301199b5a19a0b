"""Settings of an entry of apply.matching: the user's patterns and crystal."""

from typing import Annotated

from pydantic import Field, model_validator

from workflow_scripts.formats.endings import CIF, CUBE, PNG, TIFF, check_dataset, has_ending, is_array
from workflow_scripts.formats.files import image_files
from workflow_scripts.workflow.settings import Settings

IMAGES = TIFF + PNG


class Apply(Settings):
    """The user's patterns and crystal, from their files to orientations and a map."""

    patterns: str = Field(
        description="Folder of images (.png, .tif), or a 4D-STEM scan: .npy or .h5, (Ry, Rx, H, W) or (N, H, W)."
    )
    dataset: str | None = Field(default=None, description="Path of the data inside an .h5 file.")
    scan_shape: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] | None = Field(
        default=None, description="Rows and columns of the scan, if the patterns are (N, H, W) or images."
    )
    crystal: str = Field(description="The crystal: polyethylene, or the path of a .cif or .cube file.")
    pixel_size_per_a: float = Field(gt=0, le=1, description="Side of a detector pixel, 1/Å.")
    center_px: tuple[float, float] | None = Field(
        default=None,
        description="Position [y, x] of the unscattered beam, px; null takes the mean pattern's centre of symmetry.",
    )
    beam_stop_px: float = Field(default=0.0, ge=0, description="Radius to mask, px: beam stop or unscattered beam.")
    counts_per_electron: float = Field(default=1.0, gt=0, description="Counts in the patterns per electron.")
    offset: float = Field(default=0.0, description="Value of a pixel without electrons, subtracted first.")
    voltage_kv: float | None = Field(
        default=None, ge=1, le=1500, description="Accelerating voltage, kV; null takes that of the study."
    )
    thickness_nm: float | None = Field(
        default=None, gt=0, le=200, description="Thickness of the crystal, nm; null takes that of the study."
    )
    gallery: int = Field(default=2000, ge=50, le=50000, description="Beam directions that are tried.")
    candidates: int = Field(default=5, ge=1, le=50, description="Orientations written for each pattern, best first.")
    not_indexed_below: float | None = Field(
        default=None,
        ge=-1,
        le=1,
        description="Score below which a pattern counts as not indexed; null takes the 95th percentile of the scores"
        " of simulated backgrounds without a crystal.",
    )

    @model_validator(mode="after")
    def _is_consistent(self) -> "Apply":
        check_dataset(self.patterns, self.dataset, "patterns")
        return self

    def files(self) -> dict[str, str]:
        """The user's files that the entry names, by key; a folder is checked by the job that reads it."""
        files = {"patterns": self.patterns} if is_array(self.patterns) else {}
        return files | ({"crystal": self.crystal} if has_ending(self.crystal, CIF + CUBE) else {})

    def results(self) -> list[str]:
        """Output files whose rules make everything for the entry."""
        return ["orientations.csv"]

    def inputs(self, where: str = "") -> dict[str, list[str]]:
        """The files to read, by the name of the rule's input.

        Args:
            where: path of this entry in the configuration, ending in a dot, for messages.

        Raises:
            InputError: as for `pattern_files`.
        """
        crystal = [self.crystal] if has_ending(self.crystal, CIF + CUBE) else []
        return {"pattern_files": pattern_files(self.patterns, f"{where}patterns"), "crystal_file": crystal}


def pattern_files(patterns: str, what: str = "patterns") -> list[str]:
    """The files that hold the patterns: the scan, or the images of a folder in the natural order of their names.

    Args:
        patterns: as in `Apply`.
        what: the setting that names them, for messages.

    Raises:
        InputError: a folder is absent, or holds no image.
    """
    if is_array(patterns):
        return [patterns]
    return [str(path) for path in image_files(patterns, IMAGES, what)]
