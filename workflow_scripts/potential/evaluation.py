"""Predictions against the truth: metrics of every image, then means with intervals over the specimens."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.optics.waves import wavelength_a
from workflow_scripts.potential.counting import NOISE_FREE, measured_shares
from workflow_scripts.potential.metrics import UNITS, TrueImage, compare
from workflow_scripts.potential.samples import FILLED, MATCHED, PATCH, RING, Samples
from workflow_scripts.potential.settings import Evaluate
from workflow_scripts.potential.variants import ABLATIONS
from workflow_scripts.study.bootstrap import Estimate, bootstrap
from workflow_scripts.study.conditions import condition
from workflow_scripts.study.tables import metric_row, with_headline
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import array_names, read_arrays

# Stages of a learned estimator, as predictions name them and as conditions do; the last one of an estimator goes
# without saying.
STAGES = {"pretrained": "pretrain", "finetuned": "finetune", "fitted": None}
SEEN, UNSEEN = "seen", "unseen"
SHUFFLED = "shuffled"
# What an arm gains over each of these, sample by sample
GAINS = ("pearson", "pearson_highpass_1.2A")
COMPARED = ("icom", "metadata_mean", "ridge", "unet")


@dataclass(frozen=True)
class Answer:
    """What one estimator says of all samples by one detector.

    seed: of the training; None where nothing was drawn.
    stage: pretrain or finetune where that is not the estimator's last, else None.
    metadata: `shuffled` where thickness and rotation were those of other samples, else None.
    dose_e_per_a2: D doses.
    potential: (N, D, H, W), V Å.
    """

    estimator: str
    seed: int | None
    stage: str | None
    detector: str
    metadata: str | None
    dose_e_per_a2: list[float]
    potential: np.ndarray


def read_answers(path: Path, samples: Samples) -> Iterator[Answer]:
    """All answers in a file of the stage predict, one in memory at once.

    Raises:
        InputError: the file is broken or belongs to other samples.
    """
    about = read_arrays(path, ["estimator", "seed", "stages", "detectors", "dose_e_per_a2", "counted_dose_e_per_a2"])
    stages = about["stages"].tolist()
    held = set(array_names(path))
    for stage in stages:
        for detector in about["detectors"].tolist():
            for metadata in (None, SHUFFLED):
                name = f"{stage}.{detector}.{metadata or 'potential'}"
                if metadata and name not in held:
                    continue
                doses = about["counted_dose_e_per_a2" if metadata else "dose_e_per_a2"].tolist()
                potential = read_arrays(path, [name])[name]
                expected = (len(samples), len(doses), *samples.potential.shape[1:])
                if potential.shape != expected:
                    raise InputError(
                        f"{path}: {name} is {potential.shape}, but the test file asks for {expected}; predict again"
                    )
                yield Answer(
                    estimator=str(about["estimator"]),
                    seed=int(about["seed"]) if STAGES[stage] else None,
                    stage=None if stage == stages[-1] else STAGES[stage],
                    detector=detector,
                    metadata=metadata,
                    dose_e_per_a2=doses,
                    potential=potential,
                )


def zeros(samples: Samples, doses_e_per_a2: Sequence[float]) -> Iterator[Answer]:
    """The trivial answer: no potential anywhere."""
    nothing = np.broadcast_to(np.float32(0), (len(samples), len(doses_e_per_a2), *samples.potential.shape[1:]))
    for detector in (RING, MATCHED):
        yield Answer("zeros", None, None, detector, None, list(doses_e_per_a2), nothing)


def image_metrics(
    answers: Iterable[Answer], samples: Samples, held_out: str, headline_dose_e_per_a2: float
) -> pd.DataFrame:
    """All metrics of every predicted image; of the controls and the single faults at the headline's dose alone.

    Args:
        held_out: name of the material that no corrected arm is pretrained on.

    Returns:
        one row for each answer, dose and sample: estimator, seed, stage, detector, metadata, dose_e_per_a2; sample,
        kind, material, materials (seen or unseen), thickness_nm, specimen; a column for each metric.
    """
    light = samples.microscope
    limit_per_a = 2e-3 * light.semiangle_mrad / wavelength_a(light.voltage_kv)
    truths = [TrueImage.of(potential, light.pixel_size_a, limit_per_a) for potential in samples.potential]
    labels = pd.DataFrame(
        {
            "sample": np.arange(len(samples)),
            "kind": samples.kind,
            "material": samples.material,
            "materials": np.where(samples.material == held_out, UNSEEN, SEEN),
            "thickness_nm": samples.nominal_nm,
            "specimen": samples.specimen,
        }
    )
    parts = []
    for answer in answers:
        alone = answer.metadata is not None or answer.estimator in ABLATIONS
        for index, dose in enumerate(answer.dose_e_per_a2):
            if alone and dose != headline_dose_e_per_a2:
                continue
            found = pd.DataFrame(
                [compare(image, truth) for image, truth in zip(answer.potential[:, index], truths, strict=True)]
            )
            about = {name: getattr(answer, name) for name in ("estimator", "seed", "stage", "detector", "metadata")}
            parts.append(pd.concat([labels, found], axis=1).assign(**about, dose_e_per_a2=dose))
    return pd.concat(parts, ignore_index=True)


def check_complete(images: pd.DataFrame, settings: Evaluate, held_out: str) -> None:
    """Refuse what lacks an estimator, a fault or the headline.

    Raises:
        InputError: saying which of them.
    """
    found = set(images["estimator"])
    missing = set(settings.baselines) - found
    if missing:
        raise InputError(f"--predictions holds no file of {', '.join(sorted(missing))}, which --baselines names")
    faults = {ABLATIONS[name] for name in found & set(ABLATIONS)}
    absent = set(settings.ablations) - faults
    if absent and "corrected" in found:
        raise InputError(f"--ablated holds no file of {', '.join(sorted(absent))}, which --ablations names")
    doses = sorted(set(images["dose_e_per_a2"]))
    for estimator, group in images.groupby("estimator"):
        if settings.headline_dose_e_per_a2 not in set(group["dose_e_per_a2"]):
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
    """The condition that the page names."""
    return condition(
        detector=RING,
        dose_e_per_a2=settings.headline_dose_e_per_a2,
        kind=FILLED,
        materials=SEEN,
        thickness_max_nm=settings.headline_thickness_nm,
    )


def metric_rows(images: pd.DataFrame, settings: Evaluate) -> list[dict]:
    """All rows of metrics.csv, those of the headline included: means over specimens, which are resampled.

    What is not measured at the headline is left out: columns where no crystal of the headline has two.
    """
    rows = []
    keys = ["estimator", "seed", "stage", "detector", "metadata"]
    for (estimator, seed, stage, detector, metadata), group in images.groupby(keys, dropna=False, sort=False):
        fault = ABLATIONS.get(estimator)
        about = {"detector": detector}
        about |= {"stage": stage} if isinstance(stage, str) else {}
        about |= {"metadata": metadata} if isinstance(metadata, str) else {}
        about |= {"fault": fault} if fault else {}
        for chosen, where in _conditions(group, settings, few=bool(fault or isinstance(metadata, str))):
            named = {
                "condition": condition(**about, **where),
                "seed": None if pd.isna(seed) else int(seed),
            }
            by_specimen = chosen.groupby("specimen")[list(UNITS)].mean()
            for metric, unit in UNITS.items():
                interval = _interval(by_specimen[metric], settings)
                if interval:
                    rows.append(metric_row("corrected" if fault else estimator, metric, unit, interval, **named))
    rows += _gain_rows(images, settings)
    rows = with_headline(rows, headline(settings))
    complete = {(row["estimator"], row["metric"]) for row in rows if row["condition"] == "headline"}
    return [row for row in rows if (row["estimator"], row["metric"]) in complete]


def example_images(
    samples: Samples, paths: Sequence[Path], settings: Evaluate, held_out: str, count_seed: int
) -> dict[str, np.ndarray]:
    """What the figure shows as pictures, all by the recipe's ring at the headline's dose: a crystal of a material that
    was seen, one of that held out, and a patch, of the headline's largest thickness.

    Args:
        paths: files of predictions; of each estimator the first is shown, at its last stage.
        count_seed: of the counts that the estimators saw.

    Returns:
        estimators (E,); names (X,); sums (X, H, W) measured, shares of the electrons; truth (X, H, W) and predicted
        (E, X, H, W), V Å; pixel_size_a; headline_dose_e_per_a2 and headline_thickness_nm.
    """
    thickness = max(t for t in samples.nominal_nm.tolist() if t <= settings.headline_thickness_nm)
    of_thickness = samples.nominal_nm == thickness
    wanted = (
        (FILLED, samples.material != held_out, "seen"),
        (FILLED, samples.material == held_out, "held out"),
        (PATCH, samples.material != held_out, "patch"),
    )
    rows, names = [], []
    for kind, of_material, name in wanted:
        found = np.flatnonzero((samples.kind == kind) & of_material & of_thickness)
        if len(found):
            rows.append(found[0])
            names.append(f"{samples.material[found[0]]}, {name}, {thickness:g} nm")
    dose = settings.headline_dose_e_per_a2
    shares = measured_shares(samples, RING, dose, count_seed)[rows]
    predicted = {}
    for path in paths:
        shown = None
        for answer in read_answers(path, samples):
            if answer.detector == RING and answer.metadata is None and answer.stage is None:
                shown = answer
        if shown and shown.estimator not in (*ABLATIONS, *predicted):
            predicted[shown.estimator] = shown.potential[rows, shown.dose_e_per_a2.index(dose)]
    return {
        "estimators": np.array(list(predicted)),
        "names": np.array(names),
        "sums": shares.sum(axis=1),
        "truth": samples.potential[rows],
        "predicted": np.array(list(predicted.values())),
        "pixel_size_a": np.float64(samples.microscope.pixel_size_a),
        "headline_dose_e_per_a2": np.float64(dose),
        "headline_thickness_nm": np.float64(settings.headline_thickness_nm),
    }


def _conditions(
    group: pd.DataFrame, settings: Evaluate, few: bool
) -> Iterator[tuple[pd.DataFrame, dict[str, str | float]]]:
    """The parts of an answer's images that get rows of their own, and what their conditions say."""
    dose = settings.headline_dose_e_per_a2
    thin = group[group["thickness_nm"] <= settings.headline_thickness_nm]
    up_to = {"thickness_max_nm": settings.headline_thickness_nm}
    filled = thin[thin["kind"] == FILLED]
    for (materials, at), part in filled.groupby(["materials", "dose_e_per_a2"]):
        yield part, {"kind": FILLED, "materials": materials, "dose_e_per_a2": at, **up_to}
    if few:
        return
    # As the recipe counts: its own patches, all materials and thicknesses, with and without noise
    patches = group[(group["kind"] == PATCH) & group["dose_e_per_a2"].isin([dose, NOISE_FREE])]
    for at, part in patches.groupby("dose_e_per_a2"):
        yield part, {"kind": PATCH, "materials": "all", "dose_e_per_a2": at}
    whole = group[(group["kind"] == FILLED) & (group["dose_e_per_a2"] == dose)]
    for (materials, thickness), part in whole.groupby(["materials", "thickness_nm"]):
        yield part, {"kind": FILLED, "materials": materials, "dose_e_per_a2": dose, "thickness_nm": thickness}
    for material, part in filled[filled["dose_e_per_a2"] == dose].groupby("material"):
        yield part, {"kind": FILLED, "material": material, "dose_e_per_a2": dose, **up_to}


def _gain_rows(images: pd.DataFrame, settings: Evaluate) -> list[dict]:
    """What an arm reaches more than each estimator it is compared with, on the same images at the headline's dose."""
    at = images[
        (images["dose_e_per_a2"] == settings.headline_dose_e_per_a2)
        & (images["thickness_nm"] <= settings.headline_thickness_nm)
        & (images["kind"] == FILLED)
        & images["metadata"].isna()
    ]
    others = at[at["estimator"].isin(COMPARED)]
    rows = []
    keys = ["estimator", "seed", "stage", "detector", "materials"]
    arms = at[at["estimator"].isin(("published", "corrected"))]
    for (arm, seed, stage, detector, materials), group in arms.groupby(keys, dropna=False, sort=False):
        group = group.set_index("sample")
        for baseline, found in others[others["detector"] == detector].groupby("estimator"):
            found = found[(found["seed"] == seed) | found["seed"].isna()]
            # A network is compared with another at the same stage; what has no stages, with both
            same = found["stage"].isna() if pd.isna(stage) else found["stage"] == stage
            found = found[same | found["seed"].isna()].set_index("sample").reindex(group.index)
            where = {
                "detector": detector,
                "dose_e_per_a2": settings.headline_dose_e_per_a2,
                "kind": FILLED,
                "materials": materials,
                "thickness_max_nm": settings.headline_thickness_nm,
            }
            where |= {"stage": stage} if isinstance(stage, str) else {}
            gains = (group[list(GAINS)] - found[list(GAINS)]).groupby(group["specimen"]).mean()
            for metric in GAINS:
                interval = _interval(gains[metric], settings)
                if interval:
                    name = f"{metric}_gain_over_{baseline}"
                    rows.append(metric_row(arm, name, "1", interval, condition=condition(**where), seed=int(seed)))
    return rows


def _interval(by_specimen: pd.Series, settings: Evaluate) -> Estimate | None:
    """Mean over specimens, each the mean of its images, and its interval; None where no image has a value."""
    values = by_specimen.dropna().to_numpy()
    return bootstrap(values, seed=settings.seed, resamples=settings.bootstrap_samples) if len(values) else None
