"""Settings of the six stages of matching."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from workflow_scripts.learning.settings import TrainingSettings
from workflow_scripts.matching.apply.settings import Apply as Apply  # the settings of one entry of apply.matching
from workflow_scripts.matching.variants import Arm, ablation_arms
from workflow_scripts.workflow.settings import Settings

Split = Literal["train", "test"]
BUILT_IN = ("polyethylene",)
Positive = Annotated[float, Field(gt=0)]
Range = tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(ge=0)]]


def is_file(crystal: str) -> bool:
    """Whether a crystal is the path of a file instead of a built-in one."""
    return crystal.lower().endswith(".cif")


class DiffractionSettings(Settings):
    """Illumination, camera and crystal size."""

    voltage_kv: float = Field(ge=1, le=1500, description="Accelerating voltage, kV.")
    side_px: int = Field(ge=32, le=512, multiple_of=16, description="Pixels along each side of a pattern.")
    pixel_size_per_a: float = Field(gt=0, le=1, description="Side of a detector pixel, 1/Å.")
    spot_px: float = Field(gt=0, le=8, description="Standard deviation of a spot, detector pixels.")
    thickness_nm: float = Field(gt=0, le=200, description="Thickness of the crystal along the beam, nm.")


class ObservationSettings(Settings):
    """How an observed pattern differs from the calculated one; each pattern draws its own, up to these."""

    mosaic_deg: float = Field(ge=0, le=5, description="Spread of the orientation inside one pattern, degrees.")
    centre_px: float = Field(ge=0, description="Standard deviation of the centre's offset along y and x, px.")
    ellipticity: float = Field(ge=0, lt=0.2, description="Largest elliptical distortion, share of the radius.")
    camera_length: float = Field(ge=0, lt=0.2, description="Largest error of the camera length, share.")
    beam_stop_px: float = Field(ge=0, description="Radius of the beam stop, px; its wire leads to the rim.")
    halo: float = Field(ge=0, le=1, description="Share of the background in the amorphous halo and diffuse rings.")


class Synthesize(Settings):
    """A crystal to calculated patterns over its orientations, and to observed ones."""

    crystal: str = Field(description=f"The crystal: {', '.join(BUILT_IN)}, or the path of a .cif.")
    diffraction: DiffractionSettings = Field(description="Illumination, camera and crystal size.")
    observation: ObservationSettings = Field(description="How an observed pattern differs from the calculated one.")
    cells: int = Field(
        ge=8, description="Cells of beam directions; every fifth tests, none in training lies within 3° of it."
    )
    train_shards: int = Field(ge=1, le=400, description="Files of training data, made in parallel.")
    train_patterns: int = Field(ge=32, description="Pairs of a calculated and an observed pattern in a training file.")
    gallery: int = Field(ge=50, description="Beam directions of the gallery, over the whole fundamental zone.")
    queries: int = Field(ge=16, description="Observed patterns of the test file at each dose and of each kind.")
    dose_e: tuple[Positive, ...] = Field(
        min_length=1, description="Detected electrons in the spots of a query; all kinds of queries have the first."
    )
    background_share: float = Field(ge=0, description="Electrons of the background for each in the spots.")
    map_px: int = Field(ge=4, le=256, description="Side of the synthetic polycrystal's map, scan points.")
    seed: int = Field(ge=0, description="Seed of orientations, observations and counts.")

    @field_validator("crystal")
    @classmethod
    def _is_known(cls, crystal: str) -> str:
        if is_file(crystal):
            if not Path(crystal).is_file():
                raise ValueError(f"there is no file {crystal}")
        elif crystal not in BUILT_IN:
            raise ValueError(f"there is no crystal {crystal!r}; take {', '.join(BUILT_IN)}, or the path of a .cif")
        return crystal

    def files(self) -> list[str]:
        """The files among the crystals."""
        return [path for path in (self.crystal,) if is_file(path)]

    def file_mb(self, split: str) -> float:
        """Size of one file, MB: three patterns of every training sample; gallery, queries of all kinds and a map."""
        queries = self.queries * (len(self.dose_e) + 4) + self.map_px**2
        patterns = 3 * self.train_patterns if split == "train" else self.gallery + queries
        return patterns * self.diffraction.side_px**2 * 4 / 1e6


class NetworkSettings(Settings):
    """The networks of both arms, of about the same number of weights."""

    rings: int = Field(ge=8, description="Rings of the polar pattern that the corrected arm sees.")
    angles: int = Field(ge=24, multiple_of=8, description="Angles of the polar pattern.")
    width: int = Field(ge=4, description="Channels of each layer of the corrected arm's network.")
    layers: int = Field(ge=1, description="Layers of the corrected arm's network.")
    recipe: Literal["small", "resnet50"] = Field(
        description="Network of the published arm: small (reduced) or resnet50."
    )
    recipe_widths: tuple[Annotated[int, Field(ge=4)], ...] = Field(
        min_length=2,
        description="Channels of the small network's stages, each of half the resolution of the one before.",
    )
    embedding: int = Field(ge=8, description="Length of the published arm's embedding.")


class Pretrain(TrainingSettings):
    """Contrastive pretraining without labels (MoCo v2)."""

    network: NetworkSettings = Field(description="The networks.")
    patterns: int = Field(ge=16, description="Patterns in an epoch.")
    validation_patterns: int = Field(ge=16, description="Patterns that choose the weights.")
    queue: int = Field(ge=16, description="Keys in the queue.")
    key_momentum: float = Field(ge=0, lt=1, description="Momentum of the key encoder.")
    temperature: float = Field(gt=0, le=1, description="Temperature of the contrast.")
    dose_min_e: float = Field(
        gt=0, description="Smallest dose of the corrected arm's training, electrons in the spots."
    )
    dose_max_e: float = Field(gt=0, description="Largest, electrons.")
    recipe_dose_e: float = Field(gt=0, description="Dose of every observed pattern of the published arm's training.")
    ablation_epochs: int = Field(ge=1, description="Epochs of every training that only the ablation needs.")

    @model_validator(mode="after")
    def _range_fits(self) -> "Pretrain":
        if self.dose_min_e > self.dose_max_e:
            raise ValueError("dose_min_e must not exceed dose_max_e")
        return self


class LossSettings(Settings):
    """Losses of the finetuning beside the contrast of the embeddings."""

    wasserstein: Literal["none", "sliced", "generalised", "max_sliced", "distributional"] = Field(
        description="Distance of the features' distributions at an intermediate stage of the network."
    )
    stage: int = Field(ge=0, description="Which intermediate stage, from 0 at the input's side.")
    wasserstein_weight: float = Field(ge=0, description="Its weight.")
    cosine_weight: float = Field(ge=0, description="Weight of the cosine embedding loss at that stage.")
    projections: int = Field(ge=1, description="Random directions of the sliced kinds.")


class Finetune(TrainingSettings):
    """Pairs of observed and calculated patterns."""

    loss: LossSettings = Field(description="Losses beside the contrast of the embeddings.")
    pairs: int = Field(ge=16, description="Pairs in an epoch.")
    validation_pairs: int = Field(ge=16, description="Pairs that choose the weights.")
    ablation_epochs: int = Field(ge=1, description="Epochs of every training that only the ablation needs.")


class SharedPredict(Settings):
    """What all estimators share."""

    batch_size: int = Field(ge=1, description="Queries that are handled at once.")
    candidates: int = Field(ge=15, description="Answers kept for each query, best first.")


class Predict(SharedPredict):
    """The best orientations for every query, by every estimator."""


class UntrainedSettings(Settings):
    """The corrected arm's network without training; its settings are those of the stage pretrain."""

    network: NetworkSettings = Field(description="The networks of the stage pretrain.")


class Evaluate(Settings):
    """Answers against the truth."""

    ablations: tuple[Arm, ...] = Field(
        description="Further arms, each trained shortly for the figure of ablation; [] leaves it out."
    )
    headline_dose_e: float = Field(gt=0, description="Dose of the headline, one of synthesize.dose_e.")
    tolerance_deg: float = Field(gt=0, le=10, description="Largest misorientation of a right answer, degrees.")
    bootstrap_samples: int = Field(
        ge=100, description="Resamplings of the cells of beam directions for every interval."
    )
    seed: int = Field(ge=0, description="Seed of the bootstrap.")

    def ablation_arms(self, variants: Sequence[str]) -> list[str]:
        """The arms of the ablation, of those whose base is among the variants."""
        return ablation_arms(self.ablations, variants)


class Plot(Settings):
    """The figures."""
