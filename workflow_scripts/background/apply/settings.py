"""Settings of one entry of apply.background: the user's tiles."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from workflow_scripts.formats.endings import TIFF, XRADIA
from workflow_scripts.formats.files import image_files
from workflow_scripts.workflow.settings import Settings

IMAGES = TIFF + XRADIA
Px = Annotated[int, Field(ge=0)]


class Apply(Settings):
    """The user's raw tiles, from their files to corrected tiles and a mosaic."""

    tiles: str = Field(description="Folder of tiles (.tif, .tiff, .xrm), or a stack: a multi-page .tif or a .txrm.")
    layout: str | None = Field(
        default=None,
        description="Stage layout of the tiles (TileConfiguration.txt); null makes no mosaic unless grid is given.",
    )
    grid: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] | None = Field(
        default=None,
        description="Rows and columns of tiles recorded row by row, without a layout; positions are registered.",
    )
    overlap_share: float = Field(
        default=0.1, gt=0, lt=0.9, description="Expected overlap of neighbours in the grid, as a fraction of a tile."
    )
    references: str | None = Field(
        default=None, description="Folder or stack of images without a specimen; null if there are none."
    )
    dark: str | None = Field(default=None, description="Folder, stack or image of dark frames; null uses dark_counts.")
    dark_counts: float = Field(default=0.0, ge=0, description="Dark counts per pixel, used without dark frames.")
    neighbours: int = Field(
        default=16,
        ge=2,
        le=64,
        description="Tiles used for each estimate: the tile and the nearest in recording order, at most all. With two,"
        " much of the specimen remains in the background; with many, drift is averaged.",
    )
    open_beam_px: tuple[Px, Px, Px, Px] | None = Field(
        default=None,
        description="Region of open_beam_tile without a specimen [top, left, bottom, right], px; sets the zero.",
    )
    open_beam_tile: str | None = Field(default=None, description="Name of the tile with the open-beam region.")
    finetune: Literal["auto", "references", "tiles", "none"] = Field(
        default="auto",
        description="Images to which the network is adapted: references, tiles (at least 4), or none; auto uses"
        " references if there are any, otherwise tiles.",
    )

    @model_validator(mode="after")
    def _is_consistent(self) -> "Apply":
        if self.layout is not None and self.grid is not None:
            raise ValueError("grid: is for tiles without a layout, but layout is set too")
        if (self.open_beam_px is None) != (self.open_beam_tile is None):
            raise ValueError("open_beam_px and open_beam_tile must be set together, but only one of them is")
        if self.open_beam_px and (
            self.open_beam_px[2] <= self.open_beam_px[0] or self.open_beam_px[3] <= self.open_beam_px[1]
        ):
            raise ValueError("open_beam_px: must be [top, left, bottom, right] with bottom > top and right > left")
        if self.finetune == "references" and self.references is None:
            raise ValueError("finetune: is references, but references is null")
        return self

    def files(self) -> dict[str, str]:
        """The files named in the entry, by key; folders are checked by the job that reads them."""
        return {} if self.layout is None else {"layout": self.layout}

    @property
    def placed(self) -> bool:
        """Whether positions of the tiles can be determined, so that there is a mosaic."""
        return self.layout is not None or self.grid is not None

    def results(self) -> list[str]:
        """Results whose jobs also produce all other results of the entry."""
        return ["corrected.tif", *(["mosaic.tif"] if self.placed else [])]

    def inputs(self, where: str = "") -> dict[str, list[str]]:
        """The files to read, by the names of the rules' inputs.

        Args:
            where: path of this entry in the configuration, ending in a dot, for error messages.

        Raises:
            InputError: a folder is absent, or holds no image.
        """
        files = {"layout_file": [self.layout] if self.layout else []}
        for name, key in (("tile_files", "tiles"), ("dark_files", "dark"), ("reference_files", "references")):
            path = getattr(self, key)
            files[name] = [str(file) for file in image_files(path, IMAGES, where + key)] if path else []
        return files
