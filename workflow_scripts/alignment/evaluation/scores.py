"""Rows of metrics.csv for poses: errors of all images (functions of metrics.py), then statistics with intervals.

A new metric needs its function, its name and unit below, and a row: in `errors_of` if it has a value for every image or
pair, in average_quality.py if it is about class averages.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from workflow_scripts.alignment.evaluation.metrics import (
    STATISTICS,
    pair_shift_error_px,
    recipe_error_deg,
    rotation_error_deg,
    shift_error_px,
    symmetry_period_deg,
)
from workflow_scripts.alignment.settings import Evaluate
from workflow_scripts.alignment.simulation.labels import JOINT, NOISE_ONLY, PAIRWISE, TRAINED_FOR, LabelledStack
from workflow_scripts.study.bootstrap import Estimate, bootstrap
from workflow_scripts.study.conditions import condition, parse_condition
from workflow_scripts.study.predictions import TRAINED_STAGES, Predictions
from workflow_scripts.study.tables import metric_row
from workflow_scripts.workflow.errors import InputError

MOD180, WHOLE, SHIFT = "rotation_error_deg_mod180", "rotation_error_deg", "shift_error_px"
RATIO, RECIPE = "joint_over_pairwise_error", "rotation_error_deg_recipe"
OWN_LOSS = "own_loss_deg"  # of the published arm: self-consistency of its predictions, without any truth
RESOLUTION, HALF_SET_RESOLUTION = "frc_resolution_a", "frc_half_set_resolution_a"
CORRELATION, EXCESS = "average_correlation", "average_correlation_over_null"
UNITS = {
    **{MOD180: "deg", WHOLE: "deg", SHIFT: "px", RATIO: "1", RECIPE: "deg", OWN_LOSS: "deg"},
    **{RESOLUTION: "Å", HALF_SET_RESOLUTION: "Å", CORRELATION: "1", EXCESS: "1"},
}
_PERIOD_DEG = {MOD180: 180.0, WHOLE: 360.0, SHIFT: 0.0, RECIPE: 180.0}  # of a particle without symmetry


@dataclass(frozen=True)
class Prediction:
    """The prediction of one stage of one estimator for one stack, by one kind of alignment.

    seed: of the training; None for a baseline.
    alignment: pairwise or joint.
    stage: None if this stage of the network is trained for this alignment, else its name, pretrain or finetune.
    values: arrays of `aligner.Aligner.predict`.
    """

    estimator: str
    seed: int | None
    alignment: str
    stage: str | None
    stack: LabelledStack
    values: dict[str, np.ndarray]

    @property
    def stage_condition(self) -> dict[str, str]:
        """The stage as part of a condition."""
        return {"stage": self.stage} if self.stage else {}


@dataclass(frozen=True)
class Errors:
    """Errors (N,) of all images, or (N − 1,) of all pairs, of one stack.

    period_deg: period modulo which angles are compared; 0 for shifts.
    """

    prediction: Prediction
    metric: str
    period_deg: float
    values: np.ndarray


def split_predictions(predictions: Predictions, stacks: Sequence[LabelledStack]) -> Iterator[Prediction]:
    """All predictions in a file of the stage predict.

    Raises:
        InputError: the file is broken or belongs to other stacks.
    """
    by_name = {stack.name: stack for stack in stacks}
    for stage in predictions.stages:
        named = [part.values.get("stack") for part in predictions.parts if part.stage == stage]
        if named != list(by_name):
            raise InputError(f"{predictions.path}: holds other stacks than the test file; predict again")
    for part in predictions.parts:
        stack = by_name[part.values["stack"]]
        angles, shifts = (len(stack),), (len(stack), 2)
        pairs = len(stack) - 1
        whole = {"pair_whole_deg": (pairs,), "pair_shift_px": (pairs, 2)} if "pair_whole_deg" in part.names else {}
        expected = {
            PAIRWISE: {"pair_deg": (pairs,)} | whole,
            JOINT: {"angle_deg": angles, "shift_px": shifts, "half_angle_deg": angles, "half_shift_px": shifts},
        }
        seed = _seed(predictions, part.stage)
        for alignment, shapes in expected.items():
            if next(iter(shapes)) in part.names:
                is_trained_for_it = TRAINED_FOR.get(part.stage, alignment) == alignment
                stage = None if is_trained_for_it else TRAINED_STAGES[part.stage]
                arrays = part.read(*shapes, shapes=shapes)
                yield Prediction(predictions.estimator, seed, alignment, stage, stack, arrays)


def own_loss_rows(
    predictions: Iterable[Predictions], stacks: Sequence[LabelledStack], settings: Evaluate
) -> list[dict]:
    """Rows of the label-free training loss, where an estimator has one: on pure noise, and at the headline."""
    stack_names = {
        "control=noise": [NOISE_ONLY],
        headline(settings): [stack.name for stack in stacks if at_headline(stack, settings)],
    }
    rows = []
    for file in predictions:
        parts = [part for part in file.parts if OWN_LOSS in part.names]
        losses = {(part.stage, part.values["stack"]): float(part.read(OWN_LOSS)[OWN_LOSS]) for part in parts}
        for stage in dict.fromkeys(part.stage for part in parts):
            earlier = {"stage": TRAINED_STAGES[stage]} if stage != file.stages[-1] else {}
            for text, names in stack_names.items():
                where = {"condition": condition(**parse_condition(text), **earlier), "seed": _seed(file, stage)}
                loss = float(np.mean([losses[stage, name] for name in names]))
                rows.append(metric_row(file.estimator, OWN_LOSS, UNITS[OWN_LOSS], loss, **where, n=len(names)))
    return rows


def _seed(predictions: Predictions, stage: str) -> int | None:
    return predictions.seed if stage in TRAINED_STAGES else None


def errors_of(prediction: Prediction) -> list[Errors]:
    """Errors of the angles mod 180; for full poses, of images or of pairs, also errors over 360° and of the shift.

    For a C_n particle they are taken mod 360°/n, or, for angles from spectra and odd n, mod 180°/n.
    """
    angle_deg, shift_px = prediction.stack.truth()
    fold = prediction.stack.symmetry_fold
    spectral, whole = symmetry_period_deg(fold, spectrum=True), symmetry_period_deg(fold)
    if prediction.alignment == PAIRWISE:
        pair_deg, true_deg = prediction.values["pair_deg"], angle_deg[:-1] - angle_deg[1:]
        errors = [Errors(prediction, MOD180, spectral, rotation_error_deg(pair_deg, true_deg, spectral, relative=True))]
        if spectral == _PERIOD_DEG[RECIPE]:  # the recipe ignores symmetry
            errors.append(Errors(prediction, RECIPE, spectral, recipe_error_deg(pair_deg, np.remainder(true_deg, 180))))
        if "pair_whole_deg" in prediction.values:
            pair_deg, pair_px = prediction.values["pair_whole_deg"], prediction.values["pair_shift_px"]
            errors.append(
                Errors(prediction, WHOLE, whole, rotation_error_deg(pair_deg, true_deg, whole, relative=True))
            )
            distance_px = pair_shift_error_px(pair_deg, pair_px, angle_deg, shift_px, whole)
            errors.append(Errors(prediction, SHIFT, 0.0, distance_px))
        return errors
    estimate_deg, estimate_px = prediction.values["angle_deg"], prediction.values["shift_px"]
    return [
        Errors(prediction, MOD180, spectral, rotation_error_deg(estimate_deg, angle_deg, spectral)),
        Errors(prediction, WHOLE, whole, rotation_error_deg(estimate_deg, angle_deg, whole)),
        Errors(prediction, SHIFT, 0.0, shift_error_px(estimate_deg, estimate_px, shift_px)),
    ]


def check_headline(stacks: Sequence[LabelledStack], settings: Evaluate) -> None:
    """Raises InputError where no stack of particles has the SNR of the headline."""
    known = sorted({stack.snr for stack in stacks if stack.noise == "white" and stack.name != NOISE_ONLY})
    if settings.headline_snr not in known:
        raise InputError(
            f"alignment.evaluate.headline_snr is {settings.headline_snr:g}, but white noise has the ratios"
            f" {', '.join(f'{snr:g}' for snr in known)}; take one of alignment.synthesize.snr"
        )


def at_headline(stack: LabelledStack, settings: Evaluate) -> bool:
    """Whether a stack has the noise and the SNR of the headline."""
    return stack.noise == "white" and stack.snr == settings.headline_snr


def headline(settings: Evaluate) -> str:
    """The condition of the headline: without `alignment`, which means an estimator's last kind of alignment."""
    return condition(noise="white", particle="all", snr=settings.headline_snr)


def error_rows(errors: Sequence[Errors], settings: Evaluate) -> list[dict]:
    """Rows with mean, median and 90th percentile of the errors, for each particle and for `particle=all`.

    Intervals for one particle resample the images of its stack, those for `all` resample particles. `all` is limited to
    the particles with the longest period, so that chance level is the same for all: for angles mod 180, C1 and C2
    particles. The rows of an estimator's last kind of alignment (joint, if it has it) are repeated without `alignment`.
    """
    groups: dict[tuple, list[Errors]] = {}
    for of_stack in errors:
        prediction, stack = of_stack.prediction, of_stack.prediction.stack
        if stack.name != NOISE_ONLY:
            key = prediction.estimator, prediction.seed, prediction.alignment, prediction.stage, of_stack.metric
            groups.setdefault((*key, stack.noise, stack.snr), []).append(of_stack)
    aligns_jointly = {of_stack.prediction.estimator for of_stack in errors if of_stack.prediction.alignment == JOINT}
    rows = []
    for group in groups.values():
        prediction, metric = group[0].prediction, group[0].metric
        # The recipe reports errors of pairs only
        last = JOINT if prediction.estimator in aligns_jointly and metric != RECIPE else PAIRWISE
        alignments = [{"alignment": prediction.alignment}]
        if prediction.alignment == last and not prediction.stage:
            alignments.append({})
        for where, interval in _intervals(group, settings):
            rows += [prediction_row(prediction, metric, interval, **where, **alignment) for alignment in alignments]
    return rows + _ratio_rows(rows, settings)


def _intervals(group: list[Errors], settings: Evaluate) -> Iterator[tuple[dict, Estimate]]:
    """Conditions and intervals of one estimator, alignment, metric and noise: for each particle, then for all."""
    longest = max(errors.period_deg for errors in group)
    for statistic, take in STATISTICS.items():
        for errors in group:
            stack = errors.prediction.stack
            shared = {"noise": stack.noise, "snr": stack.snr, "statistic": statistic}
            symmetric = errors.period_deg not in (0.0, _PERIOD_DEG[errors.metric])
            symmetry = {"symmetry": str(stack.symmetry_fold)} if symmetric else {}
            yield {**shared, "particle": stack.particle, **symmetry}, with_interval(errors.values, settings, take)
        comparable = {e.prediction.stack.particle: take(e.values) for e in group if e.period_deg == longest}
        yield {**shared, "particle": "all"}, with_interval(pd.Series(comparable), settings)


def prediction_row(
    prediction: Prediction, metric: str, value: float | Estimate, statistic: str = "value", **values: str | float
) -> dict:
    """A row of metrics.csv; its condition consists of `values` and the stage of the prediction, if it has one."""
    where = condition(**values, **prediction.stage_condition)
    named = {"condition": where, "seed": prediction.seed, "statistic": statistic}
    return metric_row(prediction.estimator, metric, UNITS[metric], value, **named)


def with_interval(
    values: Sequence[float] | pd.Series,
    settings: Evaluate,
    take: Callable = np.mean,
    weights: pd.Series | None = None,
) -> Estimate:
    """A statistic of values, one for each image or named particle, with an interval from resampling them."""
    return bootstrap(values, take, weights=weights, seed=settings.seed, resamples=settings.bootstrap_samples)


def _ratio_rows(rows: list[dict], settings: Evaluate) -> list[dict]:
    """Rows with the ratio of mean errors, joint over pairwise, for estimators that align in both ways."""
    means = {
        (row["estimator"], row["seed"], row["condition"]): row
        for row in rows
        if row["metric"] == MOD180 and row["statistic"] == "mean"
    }
    ratios = []
    for (estimator, seed, text), row in means.items():
        values = parse_condition(text)
        if values.pop("alignment", None) != JOINT or "stage" in values:
            continue
        pairs = means.get((estimator, seed, condition(**values, alignment=PAIRWISE)))
        if pairs and pairs["value"] > 0:
            ratio = row["value"] / pairs["value"]
            if row["sources"] is not None:  # of several particles
                joint, pairwise = (part["sources"].set_index("source")["value"] for part in (row, pairs))
                ratio = with_interval(joint / pairwise, settings, weights=pairwise)
            where = {"condition": condition(**values), "seed": seed, "n": row["n"]}
            ratios.append(metric_row(estimator, RATIO, UNITS[RATIO], ratio, **where))
    return ratios
