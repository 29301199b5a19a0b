"""Settings of the six stages of diffractive imaging, and the arms that they train."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import Field, field_validator, model_validator

from workflow_scripts.diffractive_imaging.apply.settings import Apply as Apply  # one entry of apply.diffractive_imaging
from workflow_scripts.diffractive_imaging.simulation import sources
from workflow_scripts.learning.settings import TrainingSettings
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.settings import Settings


@dataclass(frozen=True)
class Variant:
    """Which faults of the published recipe are present; docs/diffractive_imaging.md explains each.

    Attributes:
        loss_on_first_sample: one sample of every batch trains and validates.
        target_keeps_mean: the target includes the mean phase, which a pattern cannot determine.
        noise_drawn_once: one dose and one draw of Poisson noise for all epochs, no normalisation by dose.
        validation_split_by_sample: crops of one photograph lie on both sides of the split.
        epoch_by_hand: the weights of an epoch chosen beforehand, not those that validate best.
        axes_exchanged: the scan's x and y are exchanged, right only where the detector's are too.
        damped_stitching: patches are averaged with a damping that lets no long period through.
        without_finetune: the network is never adapted to the measured patterns.
    """

    loss_on_first_sample: bool
    target_keeps_mean: bool
    noise_drawn_once: bool
    validation_split_by_sample: bool
    epoch_by_hand: bool
    axes_exchanged: bool
    damped_stitching: bool
    without_finetune: bool


VARIANTS = {
    "published": Variant(True, True, True, True, True, True, True, True),
    "corrected": Variant(False, False, False, False, False, False, False, False),
}

# Faults that need a separate training; those of IMAGE_FAULTS need none, only other images from the same weights.
TrainingFault = Literal["loss_on_first_sample", "target_keeps_mean", "noise_drawn_once", "validation_split_by_sample"]
IMAGE_FAULTS = ("damped_stitching", "axes_exchanged")
NO_FAULT = "none"


def with_fault(fault: str) -> Variant:
    """The corrected recipe with one fault, or with `NO_FAULT`."""
    return VARIANTS["corrected"] if fault == NO_FAULT else replace(VARIANTS["corrected"], **{fault: True})


def ablation_arm(fault: str) -> str:
    """The name of the arm with this single fault, also in file names."""
    return f"only_{fault}"


# The single fault of each arm of the ablation, by the arm's name. All are trained for the same few epochs.
ABLATIONS = {ablation_arm(fault): fault for fault in (NO_FAULT, *get_args(TrainingFault))}
ARMS = VARIANTS | {arm: with_fault(fault) for arm, fault in ABLATIONS.items()}

VariantName = Literal["published", "corrected"]
CrystalName = Literal["hbn", "hbn_twisted", "graphene", "mos2", "fullerenes"]


class ProbeSettings(Settings):
    """The illumination: from parameters, or the wave in a file."""

    file: str | None = Field(
        description="Path of a .npy file with the complex probe wave in real space, (n, n), centred at [n//2, n//2];"
        " null makes the probe from the parameters below. The parameters still give the pixel size."
    )
    detector_px: int = Field(
        ge=16,
        le=256,
        multiple_of=16,
        description="Detector pixels along each side, after binning or cropping; a multiple of 16.",
    )
    voltage_kv: float = Field(ge=1, le=1500, description="Accelerating voltage, kV.")
    semiangle_mrad: float = Field(gt=0, le=200, description="Convergence semiangle, mrad.")
    aperture_radius_px: float = Field(gt=0, description="Radius of the bright-field disc, detector pixels.")
    defocus_a: float = Field(description="Defocus, Å; positive is underfocus.")
    cs_mm: float = Field(description="Spherical aberration, mm.")
    skirt_amplitude: float = Field(
        ge=0, lt=1, description="Amplitude of the weak skirt around the disc, at its rim, as a share of the disc's."
    )
    skirt_decay_px: float = Field(gt=0, description="Distance over which the skirt falls to 1/e, detector pixels.")

    @field_validator("file")
    @classmethod
    def _file_exists(cls, file: str | None) -> str | None:
        # Snakemake would go on with what an earlier run made from a file that is gone.
        if file is not None and not Path(file).is_file():
            raise ValueError("there is no such file")
        return file

    @model_validator(mode="after")
    def _disc_fits(self) -> "ProbeSettings":
        if self.aperture_radius_px >= self.detector_px / 2:
            raise ValueError(
                f"aperture_radius_px {self.aperture_radius_px} does not fit a detector of {self.detector_px} px"
            )
        return self


class ScanSettings(Settings):
    """The simulated scans of the large test objects."""

    photographs: int = Field(
        ge=1, description="Test photographs that are scanned, at most; a step edge is scanned too."
    )
    dead_leaves: int = Field(ge=0, description="Images of dead leaves that are scanned.")
    points: int = Field(ge=16, le=512, description="Scan points along each side of the raster.")
    step_px: float = Field(gt=0, le=2, description="Mean step of the raster, object pixels.")
    jitter_px: float = Field(ge=0, le=1, description="Standard deviation of the position jitter, object pixels.")
    phase_std_rad: float = Field(
        gt=0, le=3, description="Standard deviation of the phase of photographs, dead leaves and step edge, rad."
    )
    crystals: tuple[CrystalName, ...] = Field(
        description="Also scanned, by multislice: boron nitride, one layer (hbn) or two (hbn_twisted), graphene, MoS2,"
        " molecules of C60 (fullerenes); phase_std_rad does not apply to them. [] for none."
    )
    twist_deg: float = Field(
        ge=0, lt=60, description="Twist of hbn_twisted's second layer against the stacking of the bulk, degrees."
    )
    perturbed: int = Field(
        ge=0,
        description="Photographs, then dead leaves, also scanned with a wrong defocus, rotation, positions and source.",
    )
    sparse_every: tuple[Annotated[int, Field(ge=2, le=16)], ...] = Field(
        description="At full dose photographs and dead leaves are also scanned at every n-th row and column alone."
    )
    detector_transposed: bool = Field(
        description="Whether the recorded patterns have x and y exchanged, as those of the published experiment do."
    )


class Synthesize(Settings):
    """Photographs and synthetic images to phase objects and their diffraction patterns."""

    photographs: str | None = Field(
        description="Folder of photographs (.png, .jpg, .tif) to cut phase objects from; null takes those that ship"
        " with scikit-image and scikit-learn."
    )
    probe: ProbeSettings = Field(description="The illumination.")
    train_shards: int = Field(
        ge=1, le=400, description="Files that the training data are spread over, made in parallel."
    )
    samples_per_shard: int = Field(ge=32, description="Phase objects in each training file.")
    dead_leaves_share: float = Field(ge=0, le=1, description="Share of dead-leaves images among the training objects.")
    one_over_f_share: float = Field(
        ge=0, le=1, description="Share of the training objects that are 1/f images; the rest are photographs."
    )
    validation_share: float = Field(
        gt=0, lt=0.5, description="Share of the training objects used for validation, cut from other photographs."
    )
    phase_std_min_rad: float = Field(gt=0, description="Smallest standard deviation of a training object's phase, rad.")
    phase_std_max_rad: float = Field(
        gt=0, le=3, description="Largest standard deviation of a training object's phase, rad."
    )
    dose_e: float = Field(
        gt=0, le=1e8, description="Electrons per pattern of the stored training counts and of the headline."
    )
    test_samples: int = Field(ge=16, description="1/f objects of the frozen test set, for each phase and dose.")
    test_phase_std_rad: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        min_length=1, description="Phase standard deviations of the test set, rad."
    )
    test_dose_e: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        min_length=1, description="Electrons per pattern of the test set and of the scans, dose_e among them."
    )
    scan: ScanSettings = Field(description="The simulated scans.")
    seed: int = Field(
        ge=0, description="Seed of objects, noise and jitter; the data are the same for every training seed."
    )

    def inputs(self, wildcards: Mapping[str, str]) -> dict[str, list[str]]:
        """The user's files that one job of the stage reads, by the name of the rule's input.

        The file `train` is cut from training and validation photographs, the file `test` from those for testing.
        Photographs in the wheels of other projects are pinned by the lock and are no inputs. A job for a scan of the
        user's takes the probe from the scan.

        Args:
            wildcards: `shard`, and `split` or the `name` of the user's scan.
        """
        files = {} if wildcards.get("name") or not self.probe.file else {"probe": [self.probe.file]}
        if self.photographs is not None:
            shard = int(wildcards.get("shard"))
            for kind in ("test",) if wildcards.get("split") == "test" else ("train", "validation"):
                paths = sources.photographs(self.photographs, kind, shard, self.train_shards)
                files[kind] = [str(path) for path in paths]
        return files

    def file_mb(self, split: str) -> float:
        """Size of one file with its counts as float32, MB: objects and patterns; or those of every phase and dose."""
        doses, scan = len(self.test_dose_e), self.scan
        objects = scan.photographs + scan.dead_leaves + len(scan.crystals) + 2  # the step edge, and the calibration
        scans = objects * doses + 4 * scan.perturbed
        test = self.test_samples * len(self.test_phase_std_rad) * doses + scans * scan.points**2
        patterns = 2 * self.samples_per_shard if split == "train" else test
        return patterns * self.probe.detector_px**2 * 4 / 1e6

    @field_validator("photographs")
    @classmethod
    def _photographs_exist(cls, folder: str | None) -> str | None:
        if folder is not None:
            try:
                sources.photographs(folder, "train")
            except InputError as error:
                raise ValueError(str(error)) from None
        return folder

    @model_validator(mode="after")
    def _shares_fit(self) -> "Synthesize":
        if self.dead_leaves_share + self.one_over_f_share > 1:
            raise ValueError("dead_leaves_share and one_over_f_share must not exceed 1 together")
        if self.phase_std_min_rad > self.phase_std_max_rad:
            raise ValueError("phase_std_min_rad must not exceed phase_std_max_rad")
        if self.dose_e not in self.test_dose_e:
            raise ValueError(f"test_dose_e must include the full dose, dose_e {self.dose_e:g}")
        if self.scan.phase_std_rad not in self.test_phase_std_rad:
            raise ValueError(
                f"test_phase_std_rad must include that of the headline, scan.phase_std_rad {self.scan.phase_std_rad:g}"
            )
        for name in ("test_dose_e", "test_phase_std_rad"):
            if len(set(getattr(self, name))) < len(getattr(self, name)):
                raise ValueError(f"{name} must list each value once, not {list(getattr(self, name))}")
        return self


class DenseSettings(Settings):
    """The reduced network, for scales without a GPU."""

    components: int = Field(ge=1, description="Principal components that are kept of a pattern.")
    width: int = Field(ge=1, description="Units of each hidden layer.")
    blocks: int = Field(ge=0, description="Residual layers between the first and the last.")


class UnetSettings(Settings):
    """The recipe's residual U-net."""

    widths: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        min_length=1, description="Channels at full resolution and after each halving."
    )
    dropout: float = Field(ge=0, lt=1, description="Probability that a channel is dropped in training.")


class NetworkSettings(Settings):
    """The network, the same in both arms."""

    kind: Literal["dense", "unet"] = Field(description="Which of the two networks below is trained.")
    dense: DenseSettings = Field(description="The reduced network.")
    unet: UnetSettings = Field(description="The recipe's network.")


class Pretrain(TrainingSettings):
    """The network, trained on simulated patterns."""

    network: NetworkSettings = Field(description="The network, the same in both arms.")
    dose_min_e: float = Field(gt=0, description="Smallest dose of the training noise in the corrected arm, electrons.")
    dose_max_e: float = Field(gt=0, description="Largest dose of the training noise in the corrected arm, electrons.")
    epoch_by_hand: int = Field(
        ge=1, description="Epoch whose weights the published arm takes, whatever their validation loss."
    )
    ablation_epochs: int = Field(
        ge=1, description="Epochs of each training with a single fault, and of the one without faults beside them."
    )

    @model_validator(mode="after")
    def _ranges_fit(self) -> "Pretrain":
        if self.dose_min_e > self.dose_max_e:
            raise ValueError("dose_min_e must not exceed dose_max_e")
        if self.epoch_by_hand > self.epochs:
            raise ValueError(f"epoch_by_hand {self.epoch_by_hand} must not exceed epochs {self.epochs}")
        return self


class Finetune(TrainingSettings):
    """The network adapted to the measured patterns of a scan, without any truth."""

    validation_share: float = Field(
        gt=0, lt=1, description="Share of the patterns that choose the weights and are not trained on."
    )


class PtychographySettings(Settings):
    """Iterative ptychography."""

    iterations: int = Field(ge=1, description="Iterations; held-out patterns choose the best.")
    batches: int = Field(
        ge=1, description="Gradient steps of an iteration: one pass over a dense scan, several over a sparse one."
    )


class InferenceSettings(Settings):
    """Trained networks."""

    batch_size: int = Field(ge=1, description="Patterns that go through a network at once.")


class Predict(Settings):
    """Patches and stitched images: one section for each estimator that has settings."""

    network: InferenceSettings = Field(description="The trained networks.")
    ptychography: PtychographySettings = Field(description="Iterative ptychography until it converges.")
    ptychography_fast: PtychographySettings = Field(description="Iterative ptychography, stopped early.")


class Evaluate(Settings):
    """Predictions against the truth."""

    ablations: tuple[TrainingFault, ...] = Field(
        description="Training faults of the published recipe to switch on one at a time, each in a short training,"
        " beside a short training without faults; from the latter, images are also made with each fault of the"
        " stitching. Needs the corrected arm; [] for no ablation."
    )
    bootstrap_samples: int = Field(ge=100, description="Bootstrap resamples of the sources for each interval.")
    transfer_points: int = Field(
        ge=16, le=1024, description="Scan points along each side of the raster of perfect patches for the transfer T."
    )
    transfer_step_px: float = Field(gt=0, le=2, description="Mean step of that raster, object pixels.")
    transfer_jitter_px: float = Field(ge=0, le=1, description="Standard deviation of its jitter, object pixels.")
    seed: int = Field(ge=0, description="Seed of the white-noise object, of the jitter and of the bootstrap.")

    def ablation_arms(self, variants: Sequence[str]) -> list[str]:
        """The arms with a single fault and the one without; [] if `ablations` or the corrected arm is missing."""
        if not self.ablations or "corrected" not in variants:
            return []
        return [ablation_arm(fault) for fault in (NO_FAULT, *self.ablations)]


class Plot(Settings):
    """The figure."""
