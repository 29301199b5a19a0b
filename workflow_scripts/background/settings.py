"""Settings of the six stages of the background."""

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from workflow_scripts.background.apply.settings import Apply as Apply  # the settings of one entry of apply.background
from workflow_scripts.learning.settings import TrainingSettings
from workflow_scripts.workflow.settings import Settings


class Synthesize(Settings):
    """From specimens and flat fields to raw tiles with known ground truth."""

    side_px: int = Field(ge=32, le=1024, multiple_of=16, description="Pixels along each side of a tile.")
    train_shards: int = Field(ge=1, le=400, description="Files of training data, made in parallel.")
    specimens: int = Field(ge=16, description="Specimens in a training file, from which tiles are cropped.")
    instruments: int = Field(
        ge=4,
        description="Microscopes in a training file, one session each; a quarter is for validation.",
    )
    times: int = Field(ge=2, description="Moments at which the drifting flat field of a session is recorded.")
    test_instruments: int = Field(
        ge=1,
        description="Test microscopes; a later session is tested, an earlier one is for finetuning.",
    )
    test_tiles: int = Field(ge=16, description="Tiles of every test session, recorded in order while it drifts.")
    references: int = Field(ge=4, description="Images without a specimen in every test session and the earlier one.")
    dose_min: float = Field(gt=0, description="Smallest dose of a pixel without a specimen, photons.")
    dose_max: float = Field(gt=0, le=60000, description="Largest dose of a pixel without a specimen, photons.")
    dark: float = Field(ge=0, description="Mean of the dark frame, counts.")
    drift: float = Field(
        ge=0, le=10, description="Drift from the first tile of a session to its last, relative to a typical session."
    )
    shading_persistence: float = Field(
        ge=0, le=1, description="Correlation of the broad shading of the illumination between sessions of a microscope."
    )
    structure_persistence: float = Field(
        ge=0, le=1, description="The same for streaks, speckle and filaments, which are finer."
    )
    seed: int = Field(ge=0, description="Seed of specimens, microscopes, doses and counts.")

    @model_validator(mode="after")
    def _range_fits(self) -> "Synthesize":
        if self.dose_min > self.dose_max:
            raise ValueError("dose_min must not exceed dose_max")
        return self

    def file_mb(self, split: str) -> float:
        """Size of one file, MB: specimens (1.5 times as wide as a tile) and flat fields, or tiles and references."""
        flats = (self.instruments + self.test_instruments) * self.times
        tiles = self.test_instruments * (3 * self.test_tiles + 2 * self.references)
        images = 9 * self.specimens // 4 + flats if split == "train" else tiles
        return images * self.side_px**2 * 4 / 1e6


class UnetSettings(Settings):
    """A lean U-net on blocks of pixels."""

    block_px: int = Field(ge=1, le=4, description="Side of the pixel blocks that are rearranged into channels, px.")
    widths: tuple[Annotated[int, Field(ge=8, multiple_of=8)], ...] = Field(
        min_length=1, description="Channels at the blocks' resolution and after each halving, multiples of 8."
    )


class MonaiSettings(Settings):
    """MONAI's DiffusionModelUNet with the recipe's layout."""

    base: int = Field(ge=32, multiple_of=32, description="Channels at full resolution; multiplied by 1, 2, 2, 4, 4.")


class NetworkSettings(Settings):
    """The network, the same in both arms."""

    kind: Literal["unet", "monai"] = Field(description="Which of the two networks below both arms train.")
    unet: UnetSettings = Field(description="The lean U-net, also used by the baseline unet.")
    monai: MonaiSettings = Field(description="The recipe's network.")


class Pretrain(TrainingSettings):
    """The network, trained on synthetic sessions."""

    network: NetworkSettings = Field(description="The network, the same in both arms.")
    pairs: int = Field(ge=8, description="Training items (N tiles of one session) in an epoch.")
    validation_pairs: int = Field(ge=8, description="Items of the validation sessions; their loss selects the weights.")
    largest_set: int = Field(ge=2, le=64, description="Largest number of tiles in an item of the corrected arm.")


class Finetune(TrainingSettings):
    """The network, trained further on flat fields of earlier sessions of the tested microscopes."""

    pairs: int = Field(ge=8, description="Training items in an epoch.")
    validation_pairs: int = Field(ge=8, description="Validation items; their loss selects the weights.")


class SamplerSettings(Settings):
    """How a trained network is sampled."""

    batch_size: int = Field(ge=1, description="Images per forward pass.")
    steps: int = Field(ge=1, le=1000, description="Steps of the corrected arm's sampler.")
    samples: int = Field(
        ge=2,
        le=64,
        description="Samples per tile of the corrected arm: their mean is the estimate, their spread the uncertainty.",
    )
    curve_steps: tuple[Annotated[int, Field(ge=1, le=1000)], ...] = Field(
        min_length=2,
        description="Increasing numbers of steps for which the error is measured, each relative to that at the last.",
    )
    curve_tiles: int = Field(ge=1, description="Tiles of every test session used for curve_steps.")
    seed: int = Field(ge=0, description="Seed of the samplers.")

    @field_validator("curve_steps")
    @classmethod
    def _rise(cls, steps: tuple[int, ...]) -> tuple[int, ...]:
        if list(steps) != sorted(set(steps)):
            raise ValueError("curve_steps must increase")
        return steps


Values = Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)]


class TuningSettings(Settings):
    """Training sessions on which a classical estimator chooses its settings."""

    sessions: int = Field(ge=1, description="Training sessions on which the estimator chooses among the values.")
    seed: int = Field(ge=0, description="Seed of their specimens, doses and counts.")


class GateSettings(TuningSettings):
    """Gated mean of tiles: every combination of the listed values is tried on training sessions."""

    smoothing_px: Values = Field(description="Standard deviations of the Gaussian that smooths residuals, px.")
    brighter: Values = Field(description="Significances above the flat field at which a pixel counts half.")
    softness: Values = Field(description="Widths of the gate's flanks, in standard deviations of the residual.")


class BasicSettings(TuningSettings):
    """BaSiC: every listed value is tried on training sessions."""

    smoothness: Values = Field(description="Weights of the cosine transform of the flat field.")


class Predict(Settings):
    """The log flat fields of the test tiles, estimated by every estimator."""

    network: SamplerSettings = Field(description="Estimators with trained weights: the arms and unet.")
    gated: GateSettings = Field(description="Gated means of 2, 4 and 16 tiles.")
    basic: BasicSettings = Field(description="BaSiC, the shading image of 16 tiles.")


class Evaluate(Settings):
    """Estimates against the truth."""

    bootstrap_samples: int = Field(ge=100, description="Resamplings of the sessions for every interval.")
    seed: int = Field(ge=0, description="Seed of the bootstrap.")


class Plot(Settings):
    """The figures."""


# All arms run the same code; each fault of the published recipe is a named switch.
@dataclass(frozen=True)
class Variant:
    """Which faults of the published recipe are present; docs/background.md explains each.

    Attributes:
        rescaled_to_mean: the network works on intensities, not logarithms; each image is stretched by its own minimum
            and maximum, and the result is rescaled to the mean 0.7, so that the absolute signal is lost.
        weights_load_loosely: finetuning loads weights whose names do not match, without an error: nothing is loaded.
        partner_unsorted: the second tile of a pair is any tile of an unsorted file listing, not a neighbour in time.
        sessions_shared: validation uses sessions of the training set.
        idealised_pair: training pairs have no noise, no drift and no dark current.
        mixed_normalisation: each specimen is stretched by its own extremes, flat fields by the largest value of all.
        one_sample: the prediction is a single random sample, without an uncertainty.
        dropped_without_guidance: the condition is dropped at random in training, but sampling uses no guidance.
        regression: not a fault: the network regresses the flat field in one pass, without diffusion.
    """

    rescaled_to_mean: bool
    weights_load_loosely: bool
    partner_unsorted: bool
    sessions_shared: bool
    idealised_pair: bool
    mixed_normalisation: bool
    one_sample: bool
    dropped_without_guidance: bool
    regression: bool = False

    @property
    def prediction_type(self) -> Literal["noise", "velocity"]:
        """The quantity that the network predicts."""
        return "noise" if self.rescaled_to_mean else "velocity"


VARIANTS = {"published": Variant(*[True] * 8), "corrected": Variant(*[False] * 8)}
RECOMMENDED = "corrected"  # the arm that corrects the user's tiles
# The baseline unet is the corrected recipe as plain regression
ARMS = VARIANTS | {"unet": replace(VARIANTS["corrected"], regression=True)}
