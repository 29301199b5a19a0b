"""Predictions against the truth: metrics of every image, then means with intervals over the specimens."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from workflow_scripts.optics.waves import wavelength_a
from workflow_scripts.potential.evaluation.lattice import lattice_average
from workflow_scripts.potential.evaluation.metrics import UNITS, TrueImage, compare
from workflow_scripts.potential.settings import ABLATIONS, VARIANTS, Evaluate
from workflow_scripts.potential.simulation.counting import NOISE_FREE, measured_shares
from workflow_scripts.potential.simulation.samples import FILLED, PATCH, RING, Samples
from workflow_scripts.study.bootstrap import Estimate, bootstrap
from workflow_scripts.study.conditions import condition, parse_condition
from workflow_scripts.study.predictions import TRAINED_STAGES, Predictions
from workflow_scripts.study.rounding import number
from workflow_scripts.study.tables import metric_row, with_headline
from workflow_scripts.workflow.errors import InputError

SEEN, UNSEEN = "seen", "unseen"
# Metrics by which an arm is compared with each baseline, sample by sample.
GAINS = ("pearson", "pearson_highpass_1.2A")
# Metrics of which by_source.csv has every condition.
PAIRED = (*GAINS, "mae_volt_angstrom")
_ARM = ("estimator", "seed", "stage", "detector", "control")
_AVERAGED = ("icom", "ridge", "corrected")  # their lattice averages are estimators too, by the ending of the name
LATTICE = "_lattice"


@dataclass(frozen=True)
class Prediction:
    """The potentials that an estimator predicts for all samples under one condition.

    Attributes:
        estimator: its name.
        seed: of the training; None for an estimator that is not trained.
        stage: `pretrain` if the estimator also has a later stage, else None.
        detector: `ring` or `matched`.
        control: the condition that makes it a control, such as `metadata=shuffled`, where thickness and rotation were
            those of other samples, or a setting of the microscope, see `Samples.setting`; else None.
        dose_e_per_a2: of the images, rounded as conditions are.
        potential: (N, H, W), V Å, of the samples of its setting of the microscope.
    """

    estimator: str
    seed: int | None
    stage: str | None
    detector: str
    control: str | None
    dose_e_per_a2: float
    potential: np.ndarray


def predictions_in(file: Predictions, samples: Samples) -> Iterator[Prediction]:
    """All predictions in a file of the stage predict; one is in memory at a time.

    Raises:
        InputError: the file is broken or belongs to other samples.
    """
    for part in file.parts:
        keys = {key: value for key, value in part.values.items() if key not in ("detector", "dose_e_per_a2")}
        control = condition(**keys) or None
        shape = (np.count_nonzero(samples.setting == _setting(control)), *samples.potential.shape[1:])
        yield Prediction(
            estimator=file.estimator,
            seed=file.seed if part.stage in TRAINED_STAGES else None,
            stage=None if part.stage == file.stages[-1] else TRAINED_STAGES[part.stage],
            detector=part.values["detector"],
            control=control,
            dose_e_per_a2=float(part.values["dose_e_per_a2"]),
            potential=part.read("potential", shapes={"potential": shape})["potential"],
        )


def _setting(control: str | None) -> str:
    """The setting of the microscope under which a control was measured."""
    return control if control and control.split("=")[0] in ("defocus_a", "source_size_a") else ""


def with_lattice_averages(
    predictions: Iterable[Prediction], samples: Samples, settings: Evaluate
) -> Iterator[Prediction]:
    """The predictions, each followed by its lattice average where one is judged: filled crystals at the headline."""
    usual = samples.under("")
    lattices = list(zip(usual.kind == FILLED, usual.cell_a, usual.rotation_deg[:, 0].tolist(), strict=True))
    for prediction in predictions:
        yield prediction
        at_headline = (prediction.detector, prediction.dose_e_per_a2) == (RING, _headline_dose(settings))
        if at_headline and prediction.control is None and prediction.estimator in _AVERAGED:
            averaged = [
                lattice_average(image, cell_a, rotation_deg, usual.microscope.pixel_size_a) if filled else image
                for image, (filled, cell_a, rotation_deg) in zip(prediction.potential, lattices, strict=True)
            ]
            yield replace(prediction, estimator=prediction.estimator + LATTICE, potential=np.array(averaged))


def zeros(samples: Samples, files: Iterable[Predictions]) -> Iterator[Prediction]:
    """Zero potential everywhere, for every detector and dose in the files."""
    measured = {
        (part.values["detector"], float(part.values["dose_e_per_a2"]))
        for file in files
        for part in file.parts
        if set(part.values) == {"detector", "dose_e_per_a2"}
    }
    shape = samples.under("").potential.shape
    for detector, dose in sorted(measured):
        potential = np.broadcast_to(np.float32(0), shape)
        yield Prediction("zeros", None, None, detector, None, dose, potential)


def image_metrics(
    predictions: Iterable[Prediction], samples: Samples, held_out: str, settings: Evaluate
) -> pd.DataFrame:
    """All metrics of every predicted image; of the single faults only at the headline's dose.

    Args:
        predictions: of all estimators.
        samples: the test samples.
        held_out: name of the material that no corrected arm is pretrained on.
        settings: of the stage.

    Returns:
        one row for each prediction and sample: estimator, seed, stage, detector, control, dose_e_per_a2; sample, kind,
        material, materials (seen or unseen), thickness_nm, on_axis, specimen; a column for each metric.
    """
    microscope = samples.microscope
    limit_per_a = 2e-3 * microscope.semiangle_mrad / wavelength_a(microscope.voltage_kv)
    truths = [TrueImage.of(potential, microscope.pixel_size_a, limit_per_a) for potential in samples.potential]
    labels = pd.DataFrame(
        {
            "sample": np.arange(len(samples)),
            "kind": samples.kind,
            "material": samples.material,
            "materials": np.where(samples.material == held_out, UNSEEN, SEEN),
            "thickness_nm": samples.nominal_nm,
            "on_axis": (samples.rotation_deg[:, 1:] == 0).all(axis=1),
            "setting": samples.setting,
            "specimen": samples.specimen,
        }
    )
    parts = []
    for prediction in predictions:
        if prediction.estimator in ABLATIONS and prediction.dose_e_per_a2 != _headline_dose(settings):
            continue
        of_setting = labels[labels["setting"] == _setting(prediction.control)].reset_index(drop=True)
        pairs = zip(prediction.potential, of_setting["sample"], strict=True)
        metrics = pd.DataFrame([compare(potential, truths[sample]) for potential, sample in pairs])
        keys = {name: getattr(prediction, name) for name in (*_ARM, "dose_e_per_a2")}
        parts.append(pd.concat([of_setting, metrics], axis=1).assign(**keys))
    images = pd.concat(parts, ignore_index=True)
    return images[(images["kind"] == FILLED) | ~images["estimator"].str.endswith(LATTICE)]  # patches are no lattice


def check_complete(images: pd.DataFrame, settings: Evaluate, held_out: str) -> None:
    """Refuse metrics that lack an arm of the ablation or the headline.

    Raises:
        InputError: naming what is missing.
    """
    estimators = set(images["estimator"])
    missing = set(settings.ablations) - {ABLATIONS[name] for name in estimators & set(ABLATIONS)}
    if missing and "corrected" in estimators:
        raise InputError(f"--ablated holds no file of {', '.join(sorted(missing))}, which --ablations names")
    doses = sorted(set(images["dose_e_per_a2"]))
    for estimator, group in images.groupby("estimator"):
        if _headline_dose(settings) not in set(group["dose_e_per_a2"]):
            raise InputError(
                f"potential.evaluate.headline_dose_e_per_a2 is {settings.headline_dose_e_per_a2:g}, at which"
                f" {estimator} predicted nothing; take one of potential.predict.dose_e_per_a2:"
                f" {', '.join(f'{dose:g}' for dose in doses if dose != NOISE_FREE)}"
            )
    filled = images[(images["kind"] == FILLED) & (images["thickness_nm"] <= settings.headline_thickness_nm)]
    for materials in (SEEN, UNSEEN):
        if not (filled["materials"] == materials).any():
            raise InputError(
                f"the test file holds no filled crystal of {materials} materials up to"
                f" {settings.headline_thickness_nm:g} nm (held out: {held_out}); raise"
                " potential.evaluate.headline_thickness_nm or change potential.synthesize"
            )


def headline(settings: Evaluate) -> str:
    """The condition of the headline numbers."""
    return condition(detector=RING, materials=SEEN, **_headline_keys(settings))


def _headline_keys(settings: Evaluate) -> dict[str, str | float]:
    return {
        "dose_e_per_a2": settings.headline_dose_e_per_a2,
        "kind": FILLED,
        "thickness_max_nm": settings.headline_thickness_nm,
    }


def metric_rows(images: pd.DataFrame, settings: Evaluate) -> list[dict]:
    """All rows of metrics.csv: means over specimens, which are resampled.

    Metrics that an estimator lacks at the headline are left out: those of columns, if no crystal there has two of them.
    """
    rows = []
    for (estimator, seed, stage, detector, control), group in images.groupby(list(_ARM), dropna=False, sort=False):
        fault = ABLATIONS.get(estimator)
        arm_keys = {"detector": detector, "stage": stage, "fault": fault}
        arm_keys = {key: value for key, value in arm_keys.items() if isinstance(value, str)}
        arm_keys |= parse_condition(control) if isinstance(control, str) else {}
        for part, part_keys in _conditions(group, settings, headline_only=bool(fault or isinstance(control, str))):
            named = {
                "condition": condition(**arm_keys, **part_keys),
                "seed": None if pd.isna(seed) else int(seed),
            }
            by_specimen = part.groupby("specimen")[list(UNITS)].mean()
            for metric, unit in UNITS.items():
                interval = _interval(by_specimen[metric], settings)
                if interval:
                    rows.append(metric_row("corrected" if fault else estimator, metric, unit, interval, **named))
    rows += _gain_rows(images, settings)
    rows = with_headline(rows, headline(settings))
    complete = {(row["estimator"], row["metric"]) for row in rows if row["headline"]}
    return [row for row in rows if (row["estimator"], row["metric"]) in complete]


def example_images(
    samples: Samples, files: Sequence[Predictions], settings: Evaluate, held_out: str
) -> dict[str, np.ndarray]:
    """Images for the figure, all by the recipe's ring at the headline's dose and largest thickness.

    Args:
        samples: the test samples; the images show a crystal of a training material, one of the held-out material and
            a patch.
        files: the first of each estimator is used, at its last stage.
        settings: of the stage.
        held_out: name of the material.

    Returns:
        estimators (E,); names (X,); sums (X, H, W) measured, shares of the electrons; truth (X, H, W) and predicted
        (E, X, H, W), V Å; pixel_size_a.
    """
    samples = samples.under("")
    thickness = max(t for t in samples.nominal_nm.tolist() if t <= settings.headline_thickness_nm)
    of_thickness = samples.nominal_nm == thickness
    wanted = (
        (FILLED, samples.material != held_out, "seen"),
        (FILLED, samples.material == held_out, "held out"),
        (PATCH, samples.material != held_out, "patch"),
    )
    rows, names = [], []
    for kind, of_material, name in wanted:
        candidates = np.flatnonzero((samples.kind == kind) & of_material & of_thickness)
        if len(candidates):
            rows.append(candidates[0])
            names.append(f"{samples.material[candidates[0]]}, {name}, {thickness:g} nm")
    dose = settings.headline_dose_e_per_a2
    shares = measured_shares(samples, RING, dose, int(files[0].facts["count_seed"]))[rows]
    at_headline = condition(detector=RING, dose_e_per_a2=dose)
    predicted = {}
    for file in files:
        for part in file.parts:
            if (part.stage, part.condition) == (file.stages[-1], at_headline) and file.estimator not in predicted:
                predicted[file.estimator] = part.read("potential")["potential"][rows]
    return {
        "estimators": np.array(list(predicted)),
        "names": np.array(names),
        "sums": shares.sum(axis=1),
        "truth": samples.potential[rows],
        "predicted": np.array(list(predicted.values())),
        "pixel_size_a": np.float64(samples.microscope.pixel_size_a),
    }


def _headline_dose(settings: Evaluate) -> float:
    """Rounded as conditions are, electrons per Å²."""
    return float(number(settings.headline_dose_e_per_a2))


def _conditions(
    group: pd.DataFrame, settings: Evaluate, headline_only: bool
) -> Iterator[tuple[pd.DataFrame, dict[str, str | float]]]:
    """The parts of an arm's images that get separate rows, and the keys of their conditions."""
    dose = _headline_dose(settings)
    thin = group[group["thickness_nm"] <= settings.headline_thickness_nm]
    up_to = {"thickness_max_nm": settings.headline_thickness_nm}
    filled = thin[thin["kind"] == FILLED]
    if (group["setting"] != "").any():  # at a single thickness
        up_to = {"thickness_nm": filled["thickness_nm"].iloc[0]}
    for (materials, at_dose), part in filled.groupby(["materials", "dose_e_per_a2"]):
        yield part, {"kind": FILLED, "materials": materials, "dose_e_per_a2": at_dose, **up_to}
    if headline_only:
        return
    on_axis = filled[filled["on_axis"] & (filled["dose_e_per_a2"] == dose)]
    for materials, part in on_axis.groupby("materials"):
        yield part, {"kind": FILLED, "materials": materials, "dose_e_per_a2": dose, "tilt_deg": 0.0, **up_to}
    # The recipe's own evaluation: its patches, all materials and thicknesses, with and without noise.
    patches = group[(group["kind"] == PATCH) & group["dose_e_per_a2"].isin([dose, NOISE_FREE])]
    for at_dose, part in patches.groupby("dose_e_per_a2"):
        yield part, {"kind": PATCH, "materials": "all", "dose_e_per_a2": at_dose}
    of_all_thicknesses = group[(group["kind"] == FILLED) & (group["dose_e_per_a2"] == dose)]
    for (materials, thickness), part in of_all_thicknesses.groupby(["materials", "thickness_nm"]):
        yield part, {"kind": FILLED, "materials": materials, "dose_e_per_a2": dose, "thickness_nm": thickness}
    for material, part in filled[filled["dose_e_per_a2"] == dose].groupby("material"):
        yield part, {"kind": FILLED, "material": material, "dose_e_per_a2": dose, **up_to}


def _gain_rows(images: pd.DataFrame, settings: Evaluate) -> list[dict]:
    """The gain of an arm over each baseline, on the same images at the headline's dose."""
    at_headline = images[
        (images["dose_e_per_a2"] == _headline_dose(settings))
        & (images["thickness_nm"] <= settings.headline_thickness_nm)
        & (images["kind"] == FILLED)
        & images["control"].isna()
    ]
    averaged = {arm + LATTICE for arm in VARIANTS}
    arms = at_headline[at_headline["estimator"].isin({*VARIANTS, *averaged})]
    baselines = at_headline[~at_headline["estimator"].isin({"zeros", *VARIANTS, *averaged, *ABLATIONS})]
    rows = []
    keys = ["estimator", "seed", "stage", "detector", "materials"]
    for (arm, seed, stage, detector, materials), group in arms.groupby(keys, dropna=False, sort=False):
        group = group.set_index("sample")
        for name, baseline in baselines[baselines["detector"] == detector].groupby("estimator"):
            baseline = baseline[(baseline["seed"] == seed) | baseline["seed"].isna()]
            # A network is compared with another network at the same stage, and at both stages with other baselines.
            same_stage = baseline["stage"].isna() if pd.isna(stage) else baseline["stage"] == stage
            baseline = baseline[same_stage | baseline["seed"].isna()].set_index("sample").reindex(group.index)
            where = {"detector": detector, "materials": materials, **_headline_keys(settings)}
            where |= {"stage": stage} if isinstance(stage, str) else {}
            gains = (group[list(GAINS)] - baseline[list(GAINS)]).groupby(group["specimen"]).mean()
            for metric in GAINS:
                interval = _interval(gains[metric], settings)
                if interval:
                    gain = f"{metric}_gain_over_{name}"
                    rows.append(metric_row(arm, gain, "1", interval, condition=condition(**where), seed=int(seed)))
    return rows


def _interval(by_specimen: pd.Series, settings: Evaluate) -> Estimate | None:
    """Mean over specimens, each the mean of its images, and its interval; None where no image has a value."""
    values = by_specimen.dropna()
    return bootstrap(values, seed=settings.seed, resamples=settings.bootstrap_samples) if len(values) else None
