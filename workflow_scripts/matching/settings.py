"""Settings of the six stages of matching, and the arms of the study: one code path, the recipe's faults as switches."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from workflow_scripts.formats.endings import CIF, CUBE, has_ending
from workflow_scripts.learning.settings import TrainingSettings
from workflow_scripts.matching.apply.settings import Apply as Apply  # the settings of one entry of apply.matching
from workflow_scripts.workflow.settings import Settings

BUILT_IN = ("polyethylene",)
Positive = Annotated[float, Field(gt=0)]


@dataclass(frozen=True)
class Variant:
    """Which faults of the published recipe are present; docs/matching.md explains each.

    Attributes:
        not_equivariant: a convolutional network embeds the Cartesian pattern in a vector; the corrected arm correlates
            features of the polar pattern over the angle.
        stage_ignored: the Wasserstein term compares the embeddings, whatever `loss.stage` is.
        max_sliced_paired: max-sliced Wasserstein sorts an axis of length 1, so it is only a paired distance.
        pretraining_sees_test: pretraining sees the observed patterns of the test.
        rotated_apart: pretraining rotates and flips two views independently, which erases the in-plane angle.
        normalised_in_pretraining_only: patterns are normalised in pretraining and raw in finetuning.
        one_dose: all training patterns have one dose, without the experiment's distortions drawn anew.
    """

    not_equivariant: bool
    stage_ignored: bool
    max_sliced_paired: bool
    pretraining_sees_test: bool
    rotated_apart: bool
    normalised_in_pretraining_only: bool
    one_dose: bool


VARIANTS = {"published": Variant(*[True] * 7), "corrected": Variant(*[False] * 7)}
# Changes of the corrected arm's loss in the arms of the ablation
LOSSES: dict[str, dict[str, str | int]] = {
    "contrast_alone": {"wasserstein": "none", "cosine_weight": 0.0},
    "sliced": {"wasserstein": "sliced"},
    "generalised": {"wasserstein": "generalised"},
    "max_sliced": {"wasserstein": "max_sliced"},
    "distributional": {"wasserstein": "distributional"},
    "sliced_stage0": {"wasserstein": "sliced", "stage": 0},
}
# Arms with a short training, compared with each other; the other ablations train as long as the arm that they change.
SHORT = (*LOSSES, "without_pretraining", "without_observation")
ARMS = (
    VARIANTS
    | {
        "fair_pretraining": replace(VARIANTS["published"], pretraining_sees_test=False),
        "without_pretraining": VARIANTS["corrected"],
        "without_observation": replace(VARIANTS["corrected"], one_dose=True),
    }
    | dict.fromkeys(LOSSES, VARIANTS["corrected"])
)
Arm = Literal[*(name for name in ARMS if name not in VARIANTS)]


def base_of(estimator: str) -> str:
    """The arm that an ablation changes in one respect; the estimator itself if it is not an arm."""
    if estimator not in ARMS:
        return estimator
    faults = vars(ARMS[estimator])
    return min(VARIANTS, key=lambda name: sum(faults[key] != value for key, value in vars(VARIANTS[name]).items()))


def is_file(crystal: str) -> bool:
    """Whether a crystal is the path of a file instead of a built-in one."""
    return has_ending(crystal, CIF + CUBE)


class DiffractionSettings(Settings):
    """Illumination, camera and crystal size."""

    voltage_kv: float = Field(ge=1, le=1500, description="Accelerating voltage, kV.")
    side_px: int = Field(ge=32, le=512, multiple_of=16, description="Pixels along each side of a pattern.")
    pixel_size_per_a: float = Field(gt=0, le=1, description="Side of a detector pixel, 1/Å.")
    spot_px: float = Field(gt=0, le=8, description="Standard deviation of a spot, detector pixels.")
    thickness_nm: float = Field(gt=0, le=200, description="Thickness of the crystal along the beam, nm.")

    @property
    def centre_px(self) -> float:
        """Position of the unscattered beam along y and x: the middle of the pattern."""
        return (self.side_px - 1) / 2

    @property
    def largest_per_a(self) -> float:
        """|g| at the corners of the detector, and a spot's tail beyond."""
        return math.sqrt(2) * (self.side_px / 2 + 3 * self.spot_px) * self.pixel_size_per_a


class ObservationSettings(Settings):
    """How an observed pattern differs from the calculated one; drawn for each pattern, up to these limits.

    The queries of the test belong to sessions: centre, ellipse, camera length and beam stop are drawn for each of them.
    """

    mosaic_deg: float = Field(ge=0, le=5, description="Spread of the orientation inside one pattern, degrees.")
    centre_px: float = Field(ge=0, description="Standard deviation of the centre's offset along y and x, px.")
    ellipticity: float = Field(ge=0, lt=0.2, description="Largest elliptical distortion, share of the radius.")
    camera_length: float = Field(ge=0, lt=0.2, description="Largest error of the camera length, share.")
    beam_stop_px: float = Field(ge=0, description="Radius of the beam stop, px; its wire leads to the rim.")
    halo: float = Field(ge=0, le=1, description="Share of the background in the amorphous halo and diffuse rings.")
    session_variation: float = Field(
        ge=0,
        le=1,
        description="Variation of centre, camera length and ellipticity within a session, share of the above.",
    )


class Synthesize(Settings):
    """A crystal to calculated patterns over its orientations, and to observed ones."""

    crystal: str = Field(description=f"The crystal: {', '.join(BUILT_IN)}, or the path of a .cif or .cube file.")
    diffraction: DiffractionSettings = Field(description="Illumination, camera and crystal size.")
    observation: ObservationSettings = Field(description="How an observed pattern differs from the calculated one.")
    cells: int = Field(ge=8, description="Cells of beam directions; every fifth is for the test, 3° from all others.")
    train_shards: int = Field(ge=1, le=400, description="Files of training data, made in parallel.")
    train_patterns: int = Field(ge=32, description="Pairs of a calculated and an observed pattern in a training file.")
    gallery: int = Field(ge=50, description="Beam directions of the gallery, over the whole fundamental zone.")
    queries: int = Field(ge=16, description="Observed patterns of the test file at each dose and of each kind.")
    sessions: int = Field(ge=1, le=1000, description="Sessions at the microscope, to which the queries belong in turn.")
    dose_e: tuple[Positive, ...] = Field(
        min_length=1, description="Electrons in the spots of a query; queries of other kinds than plain have the first."
    )
    background_share: float = Field(ge=0, description="Background electrons per electron in the spots.")
    map_px: int = Field(ge=4, le=256, description="Side of the synthetic polycrystal's map, scan points.")
    seed: int = Field(ge=0, description="Seed of orientations, observations and counts.")

    @field_validator("crystal")
    @classmethod
    def _is_known(cls, crystal: str) -> str:
        if is_file(crystal):
            if not Path(crystal).is_file():
                raise ValueError(f"there is no file {crystal}")
        elif crystal not in BUILT_IN:
            raise ValueError(
                f"there is no crystal {crystal!r}; take {', '.join(BUILT_IN)}, or the path of a .cif or .cube"
            )
        return crystal

    def files(self) -> list[str]:
        """The files among the crystals."""
        return [self.crystal] if is_file(self.crystal) else []

    def file_mb(self, split: str) -> float:
        """Size of one file, MB: about 300 spots of every training pair; gallery, queries of all kinds and a map."""
        if split == "train":
            return 4e-3 * self.train_patterns
        queries = self.queries * (len(self.dose_e) + 5) + self.map_px**2
        return (self.gallery + queries) * self.diffraction.side_px**2 * 4 / 1e6


class NetworkSettings(Settings):
    """The networks of both arms, of about the same number of weights."""

    rings: int = Field(ge=8, description="Rings of the polar pattern, the input of the corrected arm.")
    angles: int = Field(ge=24, multiple_of=8, description="Angles of the polar pattern.")
    width: int = Field(ge=4, description="Channels of each layer of the corrected arm's network.")
    layers: int = Field(ge=1, description="Layers of the corrected arm's network.")
    recipe: Literal["small", "resnet50"] = Field(description="Network of the published arm; small is a reduced one.")
    recipe_widths: tuple[Annotated[int, Field(ge=4)], ...] = Field(
        min_length=2,
        description="Channels of the small network's stages, each at half the resolution.",
    )
    embedding: int = Field(ge=8, description="Length of the published arm's embedding.")


class Pretrain(TrainingSettings):
    """Contrastive pretraining without labels (MoCo v2)."""

    network: NetworkSettings = Field(description="The networks.")
    patterns: int = Field(ge=16, description="Patterns in an epoch.")
    validation_patterns: int = Field(ge=16, description="Validation patterns, whose loss selects the weights.")
    queue: int = Field(ge=16, description="Keys in the queue.")
    key_momentum: float = Field(ge=0, lt=1, description="Momentum of the key encoder.")
    temperature: float = Field(gt=0, le=1, description="Temperature of the contrast.")
    dose_min_e: float = Field(gt=0, description="Smallest training dose of the corrected arm, electrons in the spots.")
    dose_max_e: float = Field(gt=0, description="Largest training dose of the corrected arm, electrons in the spots.")
    recipe_dose_e: float = Field(gt=0, description="Training dose of the published arm, electrons in the spots.")
    ablation_epochs: int = Field(ge=1, description="Epochs of the short trainings of the ablation.")

    @model_validator(mode="after")
    def _range_fits(self) -> "Pretrain":
        if self.dose_min_e > self.dose_max_e:
            raise ValueError("dose_min_e must not exceed dose_max_e")
        return self


class LossSettings(Settings):
    """Losses of the finetuning in addition to the contrast of the embeddings."""

    wasserstein: Literal["none", "sliced", "generalised", "max_sliced", "distributional"] = Field(
        description="Distance of the features' distributions at an intermediate stage of the network."
    )
    stage: int = Field(ge=0, description="Index of the intermediate stage, 0 being the nearest to the input.")
    wasserstein_weight: float = Field(ge=0, description="Weight of the Wasserstein term.")
    cosine_weight: float = Field(ge=0, description="Weight of the cosine embedding loss at that stage.")
    projections: int = Field(ge=1, description="Random directions of the Wasserstein distances.")


class Finetune(TrainingSettings):
    """Pairs of observed and calculated patterns."""

    loss: LossSettings = Field(description="Losses in addition to the contrast of the embeddings.")
    pairs: int = Field(ge=16, description="Pairs in an epoch.")
    validation_pairs: int = Field(ge=16, description="Validation pairs, whose loss selects the weights.")
    ablation_epochs: int = Field(ge=1, description="Epochs of the short trainings of the ablation.")


class SharedPredict(Settings):
    """Settings that all estimators share."""

    batch_size: int = Field(ge=1, description="Queries that are handled at once.")
    candidates: int = Field(ge=15, description="Orientations predicted for each query, best first.")


class RefitSettings(Settings):
    """Candidates of a dense gallery, fitted to the counts over orientation, thickness, centre and distortion."""

    directions: int = Field(ge=50, le=100_000, description="Beam directions of the dense gallery.")
    candidates: int = Field(ge=15, le=1000, description="Orientations that are fitted for each query.")
    reflections: int = Field(ge=8, description="Reflections from which a fitted pattern is calculated.")
    mosaic_deg: float = Field(ge=0, le=5, description="Spread of the orientation in a fitted pattern, degrees.")
    thickness_spread: float = Field(gt=0, le=2, description="Standard deviation of the thickness, share.")
    first_queries: int = Field(ge=1, description="Largest number of refitted queries of the headline.")
    map_queries: int = Field(ge=1, description="Largest number of refitted points of the map.")
    other_queries: int = Field(ge=1, description="The same for each other kind, region and dose.")


class Predict(SharedPredict):
    """The best orientations for every query, by every estimator."""

    refit: RefitSettings = Field(description="Physical refit of candidates.")


class UntrainedSettings(Settings):
    """The corrected arm's network without training; its settings are those of the stage pretrain."""

    network: NetworkSettings = Field(description="The networks of the stage pretrain.")


class Evaluate(Settings):
    """Predictions against the truth."""

    ablations: tuple[Arm, ...] = Field(description="Arms of the ablation to train; [] for no ablation.")
    headline_dose_e: float = Field(gt=0, description="Dose of the headline, one of synthesize.dose_e.")
    tolerance_deg: float = Field(gt=0, le=10, description="Largest misorientation of a correct prediction, degrees.")
    bootstrap_samples: int = Field(ge=100, description="Bootstrap resamples of the cells for each interval.")
    seed: int = Field(ge=0, description="Seed of the bootstrap.")

    def ablation_arms(self, variants: Sequence[str]) -> list[str]:
        """The arms of the ablation that change one of these variants."""
        return [arm for arm in self.ablations if base_of(arm) in variants]


class Plot(Settings):
    """The figures."""
