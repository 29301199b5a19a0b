"""Settings of one entry of apply.alignment: the user's particles."""

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from workflow_scripts.formats.endings import MRC, MRC_STACK, PNG, RELION, TIFF, XMIPP, has_ending
from workflow_scripts.formats.star import parse_image_name, read_tables, resolve
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.settings import Settings

_LISTS = RELION + XMIPP
_ENDINGS = {"particles": MRC_STACK + MRC + _LISTS, "reference": PNG + TIFF + MRC}


class Apply(Settings):
    """The user's particles, from their files to poses, an aligned stack and an average."""

    particles: str = Field(
        description="Path of a stack (.mrcs) or of a list of images (.star of RELION, .xmd of Xmipp)."
    )
    pixel_size_a: float | None = Field(
        default=None, gt=0.05, lt=100, description="Pixel size, Å; null reads it from the list or the header."
    )
    contrast: Literal["auto", "bright", "dark"] = Field(
        default="auto",
        description="Density in the files: bright or dark; auto compares the centre of the mean image with its rim.",
    )
    ctf: Literal["auto", "none"] = Field(
        default="auto",
        description="auto flips phases if the list has a defocus and does not say that phases are flipped already; none"
        " never flips them.",
    )
    symmetry_fold: int = Field(
        default=1,
        ge=1,
        le=60,
        description="n of an n-fold axis along the beam: angles are determined mod 360°/n, and references are"
        " symmetrised.",
    )
    largest_shift_px: float | None = Field(
        default=None,
        gt=0,
        description="Largest shift searched along either axis of the aligned image, px of the files; null uses a"
        " quarter of the box.",
    )
    mask_radius_px: float | None = Field(
        default=None,
        gt=4,
        description="Radius that encloses the particle, px of the files; null uses the circle inscribed in the box.",
    )
    reference: str | None = Field(
        default=None,
        description="Path of an initial reference (.mrc, .png or .tif) with the field of view of the particles; null"
        " starts from the particles alone, which is safer: noise aligned to a reference reproduces it.",
    )
    reference_contrast: Literal["bright", "dark"] = Field(default="bright", description="Density in the reference.")

    @field_validator("particles", "reference")
    @classmethod
    def _has_known_ending(cls, path: str | None, about: ValidationInfo) -> str | None:
        endings = _ENDINGS[about.field_name]
        if path is not None and not has_ending(path, endings):
            raise ValueError(f"{path} does not end in {', '.join(endings)}")
        return path

    @model_validator(mode="after")
    def _is_consistent(self) -> "Apply":
        if self.reference is None and self.reference_contrast != "bright":
            raise ValueError("reference_contrast: is set, but there is no reference")
        return self

    def files(self) -> dict[str, str]:
        """The files named in the entry, by key."""
        named = {"particles": self.particles, "reference": self.reference}
        return {key: path for key, path in named.items() if path is not None}

    def results(self) -> list[str]:
        """Results whose jobs also produce all other results of the entry."""
        return ["aligned.star"]

    def inputs(self, where: str = "") -> dict[str, list[str]]:
        """The files to read, by the names of the rules' inputs, with the stacks named in the list.

        where: path of this entry in the configuration, ending in a dot, for messages.
        """
        return {
            "particles_file": [self.particles],
            "stack_files": listed_stacks(self.particles),
            "reference_file": [self.reference] if self.reference else [],
        }


def listed_stacks(particles: str) -> list[str]:
    """Existing stacks named in a list of particles, without repetition; empty if `particles` is itself a stack.

    Mistakes in a list are reported by the job that reads it; the rules only need the files to watch.
    """
    path = Path(particles)
    if not has_ending(path, _LISTS) or not path.is_file():
        return []
    try:
        tables = read_tables(path).values()
        columns = [table[label] for table in tables for label in ("rlnImageName", "image") if label in table]
        names = {parse_image_name(text, path, 1)[1] for column in columns for text in column}
    except InputError:
        return []
    return sorted({str(stack) for name in names if (stack := resolve(name, path)) is not None})
