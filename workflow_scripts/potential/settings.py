"""Settings of the six stages of the projected potential."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import Field, field_validator, model_validator

from workflow_scripts.formats.endings import CIF, CUBE, has_ending, without_ending
from workflow_scripts.learning.settings import TrainingSettings
from workflow_scripts.potential.apply.settings import RISES
from workflow_scripts.potential.apply.settings import Apply as Apply  # the settings of one entry of apply.potential
from workflow_scripts.workflow.settings import Settings

# Faults of the published training that can be switched on alone, each in a separate training.
TrainingFault = Literal[
    "patch_in_vacuum", "joint_minmax", "noise_not_counted", "loss_blind_to_position", "fixed_target_scale"
]
NO_FAULT = "none"
BUILT_IN = ("GaN", "LiCoO2", "KNbO3", "CsPbI3", "MoS2", "SrTiO3")
Ring = Annotated[tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(gt=0)]], RISES]


def is_file(material: str) -> bool:
    """Whether a material is the path of a structure, not one of those built in."""
    return has_ending(material, CIF + CUBE)


class MicroscopeSettings(Settings):
    """Illumination and detectors."""

    voltage_kv: float = Field(ge=1, le=1500, description="Accelerating voltage, kV.")
    semiangle_mrad: float = Field(gt=0, le=100, description="Convergence semiangle, mrad.")
    defocus_a: float = Field(description="Defocus, Å; positive is underfocus.")
    cs_mm: float = Field(description="Spherical aberration, mm.")
    source_size_a: float = Field(
        ge=0, le=2, description="Standard deviation of the Gaussian source in the plane of the specimen, Å."
    )
    ring_mrad: Ring = Field(description="Inner and outer angle of the recipe's four-segment ring, mrad.")
    matched_ring_mrad: Ring = Field(
        description="Inner and outer angle of a four-segment detector matched to the aperture, mrad."
    )


class MultisliceSettings(Settings):
    """Sampling of the multislice computation."""

    pixel_a: float = Field(
        gt=0, le=1, description="Largest side of a pixel, Å; two thirds of its Nyquist angle must hold the detectors."
    )
    slice_a: float = Field(gt=0, le=20, description="Largest thickness of a slice, Å.")
    field_a: float = Field(
        gt=0,
        le=200,
        description="Smallest field of view of a filled crystal, Å; a probe that spreads wider wraps around.",
    )
    phonon_configurations: int = Field(
        ge=0,
        le=1000,
        description="Snapshots of the thermal motion that are averaged (frozen phonons); 0 smears the atoms instead"
        " (Debye-Waller factors), which leaves out thermal diffuse scattering.",
    )
    memory_mib: int = Field(ge=64, description="Memory budget of the computation, MiB; batches are made to fit.")


class PatchSettings(Settings):
    """The recipe's crystal patch in vacuum, in a cell as wide as the image."""

    side_share: float = Field(gt=0, le=1, description="Side of the patch as a share of the cell's.")
    slice_a: float = Field(gt=0, le=20, description="Largest thickness of a patch's slice, Å.")


class TestConditions(Settings):
    """Test images of seen materials that the microscope of the training did not record; no estimator is told."""

    thickness_nm: float = Field(gt=0, le=300, description="Thickness, nm, one of `test_thickness_nm`.")
    defocus_a: tuple[float, ...] = Field(description="Errors of the defocus, Å.")
    source_size_a: tuple[Annotated[float, Field(ge=0, le=2)], ...] = Field(
        description="Standard deviations of the source, Å."
    )


class Synthesize(Settings):
    """Crystals to segmented images and their projected potential."""

    microscope: MicroscopeSettings = Field(description="Illumination and detectors.")
    multislice: MultisliceSettings = Field(description="Sampling of the multislice computation.")
    patch: PatchSettings = Field(description="The recipe's crystal patches.")
    materials: tuple[str, ...] = Field(
        min_length=2,
        description=f"Crystals: {', '.join(BUILT_IN)}, or paths of .cif, .cube or .cube.gz files.",
    )
    held_out_material: str = Field(
        description="One of `materials`, left out of pretraining; a few samples of it are used for finetuning."
    )
    side_px: int = Field(ge=32, le=1024, multiple_of=32, description="Pixels along each side of an image.")
    pixel_size_a: float = Field(gt=0, le=1, description="Side of a pixel of the images, Å.")
    thickness_nm: tuple[Annotated[float, Field(gt=0, le=300)], ...] = Field(
        min_length=1,
        description="Thicknesses of every patch, nm, in ascending order. A filled training crystal has as many, drawn"
        " from as many equal intervals of the logarithm between the first and the last.",
    )
    test_thickness_nm: tuple[Annotated[float, Field(gt=0, le=300)], ...] = Field(
        min_length=1,
        description="Thicknesses of every filled test crystal, nm, in ascending order; they may exceed the training's.",
    )
    tilt_std_deg: float = Field(
        ge=0, le=2, description="Standard deviation of the specimen's tilt about each axis in the plane, degrees."
    )
    zone_axis_share: float = Field(
        ge=0,
        le=1,
        description="Share of the filled training crystals exactly on the zone axis; of every material in the test file"
        " the first one is.",
    )
    train_shards: int = Field(ge=1, le=400, description="Files of training samples, made in parallel.")
    orientations: int = Field(
        ge=1, description="Tilts of every material in a training file, each a separate filled crystal."
    )
    views: int = Field(
        ge=1,
        description="Scans of every filled crystal, each with a random rotation and origin; the published arm has as"
        " many patches instead.",
    )
    test_orientations: int = Field(ge=1, description="Tilts of every seen material in the test file.")
    test_orientations_held_out: int = Field(ge=1, description="Tilts of the held-out material in the test file.")
    test_views: int = Field(ge=1, description="Scans of every filled test crystal.")
    test_patches: int = Field(ge=1, description="Patches of every material in the test file.")
    conditions: TestConditions = Field(description="Test images under other conditions than the training's.")
    seed: int = Field(ge=0, description="Seed of tilts, rotations and origins.")

    @field_validator("materials")
    @classmethod
    def _are_known(cls, materials: tuple[str, ...]) -> tuple[str, ...]:
        for material in materials:
            if is_file(material) and not Path(material).is_file():
                raise ValueError(f"there is no file {material}")
            if not is_file(material) and material not in BUILT_IN:
                raise ValueError(
                    f"there is no crystal {material!r}; take {', '.join(BUILT_IN)}, or the path of a .cif or .cube"
                )
        if len({material_name(material) for material in materials}) < len(materials):
            raise ValueError("each material may be listed once, and files must differ in their names")
        return materials

    @model_validator(mode="after")
    def _fit(self) -> "Synthesize":
        if self.held_out_material not in self.materials:
            raise ValueError(f"held_out_material must be one of materials, not {self.held_out_material!r}")
        for key in ("thickness_nm", "test_thickness_nm"):
            if list(getattr(self, key)) != sorted(set(getattr(self, key))):
                raise ValueError(f"{key} must be in ascending order")
        if self.conditions.thickness_nm not in self.test_thickness_nm:
            raise ValueError(
                f"conditions.thickness_nm must be one of test_thickness_nm, not {self.conditions.thickness_nm:g}"
            )
        return self

    def files(self) -> list[str]:
        """The files among the crystals."""
        return [path for path in self.materials if is_file(path)]

    def file_mb(self, split: str) -> float:
        """Size of one file, MB: of every sample eight images, their sum and two potentials, in float32."""
        seen, n_thicknesses = len(self.materials) - 1, len(self.thickness_nm)
        samples = 2 * (seen + 1) * self.orientations * self.views * n_thicknesses
        if split == "test":
            n_conditions = len(self.conditions.defocus_a) + len(self.conditions.source_size_a)
            views = self.test_views * seen * self.test_orientations
            samples = views * (len(self.test_thickness_nm) + n_conditions)
            samples += self.test_views * self.test_orientations_held_out * len(self.test_thickness_nm)
            samples += (seen + 1) * self.test_patches * n_thicknesses
        return samples * 11 * self.side_px**2 * 4 / 1e6


def ablation_arm(fault: str) -> str:
    """The name of the arm with this single fault, also in file names."""
    return f"only_{fault}"


def material_name(material: str) -> str:
    """The name of a material in samples and tables; for a file, its name without the ending."""
    return without_ending(material) if is_file(material) else material


class UnetSettings(Settings):
    """A plain U-net."""

    widths: tuple[Annotated[int, Field(ge=8, multiple_of=8)], ...] = Field(
        min_length=1, description="Channels at full resolution and after each halving, multiples of 8."
    )


class SwinSettings(Settings):
    """MONAI's SwinUNETR in two dimensions."""

    feature_size: int = Field(ge=12, multiple_of=12, description="Channels of the first stage, a multiple of 12.")


class NetworkSettings(Settings):
    """The network, the same in both arms."""

    kind: Literal["unet", "swin_unetr"] = Field(description="Which of the two networks below both arms train.")
    unet: UnetSettings = Field(description="The plain U-net; also the baseline of that name.")
    swin_unetr: SwinSettings = Field(description="The recipe's network.")


class Pretrain(TrainingSettings):
    """The network, trained on all materials but one."""

    network: NetworkSettings = Field(description="The network, the same in both arms.")
    validation_share: float = Field(
        gt=0,
        lt=0.5,
        description="Share of the crystal orientations (in the published arm, of the samples) used for validation.",
    )
    dose_min_e_per_a2: float = Field(gt=0, description="Smallest dose of the training noise, electrons per Å².")
    dose_max_e_per_a2: float = Field(gt=0, description="Largest dose of the training noise, electrons per Å².")
    gradient_weight: float = Field(ge=0, description="Weight of the error of the potential's gradient in the loss.")
    limited_weight: float = Field(
        ge=0, description="Weight of the second task, the potential band-limited at 2α/λ, in the loss."
    )
    ablation_epochs: int = Field(
        ge=1, description="Epochs of each training with a single fault, and of the one without faults beside them."
    )

    @model_validator(mode="after")
    def _range_fits(self) -> "Pretrain":
        if self.dose_min_e_per_a2 > self.dose_max_e_per_a2:
            raise ValueError("dose_min_e_per_a2 must not exceed dose_max_e_per_a2")
        return self


class Finetune(TrainingSettings):
    """Training of the network on a few samples of the held-out material."""

    samples: int = Field(ge=2, description="Samples of the held-out material to train on, from the training files.")
    validation_share: float = Field(
        gt=0, lt=1, description="Share of those samples used for validation, which selects the weights."
    )


class RidgeSettings(Settings):
    """Ridge deconvolution."""

    kernel_px: tuple[Annotated[int, Field(ge=1, le=31)], ...] = Field(
        min_length=1,
        description="Candidates for the side of the filter's kernels, odd numbers of pixels; training data decide.",
    )

    @field_validator("kernel_px")
    @classmethod
    def _are_odd(cls, sides: tuple[int, ...]) -> tuple[int, ...]:
        if any(side % 2 == 0 for side in sides):
            raise ValueError("a kernel has an odd number of pixels a side")
        return sides


class InferenceSettings(Settings):
    """The trained networks."""

    batch_size: int = Field(ge=1, description="Images that go through a network at once.")


class SharedPredict(Settings):
    """Settings that all estimators share."""

    dose_e_per_a2: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        min_length=1, description="Doses at which the test images are counted, electrons per Å²."
    )
    control_dose_e_per_a2: float = Field(
        gt=0, description="Dose of the controls and of the test conditions, one of `dose_e_per_a2`, electrons per Å²."
    )
    thickness_error_percent: tuple[Annotated[float, Field(gt=-100)], ...] = Field(
        description="Errors of the thickness label that are tested, percent."
    )
    seed: int = Field(ge=0, description="Seed of the test images' counts, the same for every estimator.")


class Predict(SharedPredict):
    """The potential by every estimator."""

    ridge: RidgeSettings = Field(description="Ridge deconvolution.")
    network: InferenceSettings = Field(description="The trained networks.")


class ConvergenceSettings(Settings):
    """How the error of an image falls with the field of view and with the pixel."""

    material: Literal[BUILT_IN] = Field(description="The crystal, untilted.")
    field_a: tuple[Annotated[float, Field(gt=0, le=200)], ...] = Field(
        min_length=2, description="Fields of view, Å, in ascending order; the others are compared with the last."
    )
    thickness_nm: tuple[Annotated[float, Field(gt=0, le=300)], ...] = Field(
        min_length=1, description="Thicknesses at which fields of view are compared, nm, in ascending order."
    )
    pixel_a: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(
        min_length=2, description="Pixels, Å, in descending order; the others are compared with the last."
    )
    pixel_thickness_nm: tuple[Annotated[float, Field(gt=0, le=300)], ...] = Field(
        min_length=1, description="Thicknesses at which pixels are compared, nm, in ascending order."
    )


class Evaluate(Settings):
    """Predictions against the truth."""

    ablations: tuple[TrainingFault, ...] = Field(
        description="Training faults of the published recipe to switch on one at a time, each in a short training,"
        " beside a short training without faults. Needs the corrected arm; [] for no ablation."
    )
    headline_dose_e_per_a2: float = Field(gt=0, description="Dose of the headline, one of predict.dose_e_per_a2.")
    headline_thickness_nm: float = Field(gt=0, description="Largest thickness included in the headline, nm.")
    bootstrap_samples: int = Field(ge=100, description="Bootstrap resamples of the specimens for each interval.")
    convergence: ConvergenceSettings = Field(description="Convergence of the images with field of view and pixel.")
    seed: int = Field(ge=0, description="Seed of the bootstrap.")

    def ablation_arms(self, variants: Sequence[str]) -> list[str]:
        """The arms with a single fault and the one without; [] if `ablations` or the corrected arm is missing."""
        if not self.ablations or "corrected" not in variants:
            return []
        return [ablation_arm(fault) for fault in (NO_FAULT, *self.ablations)]


class Plot(Settings):
    """The figures."""


# The arms of the study: one code path, with the faults of the recipe as named switches.
@dataclass(frozen=True)
class Variant:
    """Which faults of the published recipe are present; docs/potential.md explains each.

    Attributes:
        patch_in_vacuum: trains on crystal patches whose outline floats in vacuum, in a cell that thick samples wrap
            around, not on crystals that fill the field of view.
        joint_minmax: the four segments are stretched to [0, 1] together, which discards the share of the beam.
        float16_inputs: the images are rounded to half precision.
        noise_not_counted: training adds Gaussian noise, blur and a change of contrast to the stretched images, and
            validation no noise, where the corrected arm counts electrons in both.
        loss_blind_to_position: the loss compares moduli of Fourier coefficients, which a shift does not change.
        fixed_target_scale: the target is a share of 600,000 V Å whatever the thickness.
        split_by_sample: samples of one crystal orientation lie on both sides of the split, no material is held out.
        unreadable_becomes_zeros: a file that cannot be read is trained on as zeros in and zeros out.
        one_detector: trained on the recipe's ring alone, not on a detector that is matched to the aperture.
        without_finetune: the network is never trained on samples of the material that was held out.
    """

    patch_in_vacuum: bool
    joint_minmax: bool
    float16_inputs: bool
    noise_not_counted: bool
    loss_blind_to_position: bool
    fixed_target_scale: bool
    split_by_sample: bool
    unreadable_becomes_zeros: bool
    one_detector: bool
    without_finetune: bool


VARIANTS = {"published": Variant(*[True] * 10), "corrected": Variant(*[False] * 10)}

PLAIN_UNET = "unet"  # the corrected recipe with the plain U-net: a baseline where the arms train another network

# The single fault of each arm of the ablation, by the arm's name. All are trained for the same few epochs.
ABLATIONS = {ablation_arm(fault): fault for fault in (NO_FAULT, *get_args(TrainingFault))}
_ABLATION_VARIANTS = {
    arm: VARIANTS["corrected"] if fault == NO_FAULT else replace(VARIANTS["corrected"], **{fault: True})
    for arm, fault in ABLATIONS.items()
}
ARMS = VARIANTS | {PLAIN_UNET: VARIANTS["corrected"]} | _ABLATION_VARIANTS
