"""Estimated poses against the true ones: errors of every image, then statistics with intervals."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workflow_scripts.alignment.errors import (
    recipe_error_deg,
    rotation_error_deg,
    shift_error_px,
    summary,
    symmetry_period_deg,
)
from workflow_scripts.alignment.labels import FINETUNED, JOINT, NOISE_ONLY, PAIRWISE, PRETRAINED, LabelledStack
from workflow_scripts.alignment.settings import Evaluate
from workflow_scripts.study.bootstrap import Estimate, bootstrap
from workflow_scripts.study.conditions import condition
from workflow_scripts.study.tables import metric_row
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import array_names, read_arrays

# What each stage of a learned estimator is for, and its name in conditions, where it answers the other way.
OWN_WAY = {PRETRAINED: PAIRWISE, FINETUNED: JOINT, PAIRWISE: PAIRWISE, JOINT: JOINT}
_STAGE = {PRETRAINED: "pretrain", FINETUNED: "finetune"}
MOD180, WHOLE, SHIFT, RATIO, RECIPE = (
    *("rotation_error_deg_mod180", "rotation_error_deg", "shift_error_px"),
    *("joint_over_pairwise_error", "rotation_error_deg_recipe"),
)
OWN_LOSS = "own_loss_deg"  # of the published arm: errors in its own answers, not against any truth
UNITS = {MOD180: "deg", WHOLE: "deg", SHIFT: "px", RATIO: "1", RECIPE: "deg"}
_WHAT = {
    PAIRWISE: ("pair_deg",),
    JOINT: ("angle_deg", "shift_px", "average", "half_angle_deg", "half_shift_px"),
}


@dataclass(frozen=True)
class Answer:
    """What one stage of one estimator says of one stack, in one of the two ways.

    seed: of the training; None of a baseline.
    alignment: pairwise or joint.
    stage: pretrain or finetune where a network answers in the way that the other stage is for; else None.
    values: as of `estimators.answers`.
    """

    estimator: str
    seed: int | None
    alignment: str
    stage: str | None
    stack: LabelledStack
    values: dict[str, np.ndarray]


@dataclass(frozen=True)
class Errors:
    """Errors of all images, or pairs, of one stack.

    period_deg: of the angles that can be known; 0 for shifts. Chance is a quarter of it.
    """

    answer: Answer
    metric: str
    period_deg: float
    values: np.ndarray


def read_answers(path: Path, stacks: Sequence[LabelledStack]) -> Iterator[Answer]:
    """All answers in a file of the stage predict.

    Raises:
        InputError: the file is broken or belongs to other stacks.
    """
    about = read_arrays(path, ["estimator", "seed", "stages", "stacks"])
    if about["stacks"].tolist() != [stack.name for stack in stacks]:
        raise InputError(f"{path}: answers for other stacks than the test file holds; predict again")
    held = set(array_names(path))
    for stage in about["stages"].tolist():
        for stack in stacks:
            for alignment, names in _WHAT.items():
                wanted = [f"{stage}/{stack.name}/{name}" for name in names]
                if wanted[0] not in held:
                    continue
                values = dict(zip(names, read_arrays(path, wanted).values(), strict=True))
                expected = len(stack) - (alignment == PAIRWISE)
                if values[names[0]].shape != (expected,):
                    raise InputError(
                        f"{path}: {wanted[0]} is {values[names[0]].shape}, but the stack asks for ({expected},);"
                        " predict again"
                    )
                yield Answer(
                    estimator=str(about["estimator"]),
                    seed=int(about["seed"]) if stage in _STAGE else None,
                    alignment=alignment,
                    stage=None if OWN_WAY[stage] == alignment else _STAGE[stage],
                    stack=stack,
                    values=values,
                )


def own_loss_rows(paths: Sequence[Path], stacks: Sequence[LabelledStack], settings: Evaluate) -> list[dict]:
    """What a loss without truth says of the estimator that it trained: of pure noise, and at the headline."""
    rows = []
    for path in paths:
        about = read_arrays(path, ["estimator", "seed", "stages"])
        named = [name for name in array_names(path) if name.endswith("/own_loss_deg")]
        held = {name: float(loss) for name, loss in read_arrays(path, named).items()}
        stages = about["stages"].tolist()
        for stage in stages:
            said = {stack.name: held.get(f"{stage}/{stack.name}/own_loss_deg") for stack in stacks}
            if said.get(NOISE_ONLY) is None:
                continue
            named = {"stage": _STAGE[stage]} if stage != stages[-1] else {}
            alike = [
                said[stack.name] for stack in stacks if (stack.noise, stack.snr) == ("white", settings.headline_snr)
            ]
            at = {"noise": "white", "particle": "all", "snr": settings.headline_snr}
            for value, n, where in ((said[NOISE_ONLY], 1, {"control": "noise"}), (np.mean(alike), len(alike), at)):
                text = condition(**where, **named)
                rest = {"condition": text, "seed": int(about["seed"]), "n": n}
                rows.append(metric_row(str(about["estimator"]), OWN_LOSS, "deg", float(value), **rest))
    return rows


def errors_of(answer: Answer) -> list[Errors]:
    """Errors of the angles mod 180, and where branch and shift are answered those over 360° and of the shift.

    Those of a C_n particle are taken mod 360°/n, from spectra mod 180°/n for odd n.
    """
    angle_deg, shift_px = answer.stack.truth()
    fold = answer.stack.symmetry_fold
    spectral, whole = symmetry_period_deg(fold, spectrum=True), symmetry_period_deg(fold)
    if answer.alignment == PAIRWISE:
        said, true = answer.values["pair_deg"], angle_deg[:-1] - angle_deg[1:]
        found = [Errors(answer, MOD180, spectral, rotation_error_deg(said, true, spectral, relative=True))]
        if spectral == _FULL[RECIPE]:  # the recipe knows no symmetry
            found.append(Errors(answer, RECIPE, spectral, recipe_error_deg(said, np.remainder(true, 180))))
        return found
    estimate_deg, estimate_px = answer.values["angle_deg"], answer.values["shift_px"]
    return [
        Errors(answer, MOD180, spectral, rotation_error_deg(estimate_deg, angle_deg, spectral)),
        Errors(answer, WHOLE, whole, rotation_error_deg(estimate_deg, angle_deg, whole)),
        Errors(answer, SHIFT, 0.0, shift_error_px(estimate_deg, estimate_px, shift_px)),
    ]


def check_complete(stacks: Sequence[LabelledStack], settings: Evaluate) -> None:
    """Raises InputError: no stack of particles has the headline's SNR."""
    known = sorted({stack.snr for stack in stacks if stack.noise == "white" and stack.name != NOISE_ONLY})
    if settings.headline_snr not in known:
        raise InputError(
            f"alignment.evaluate.headline_snr is {settings.headline_snr:g}, but white noise has the ratios"
            f" {', '.join(f'{snr:g}' for snr in known)}; take one of alignment.synthesize.snr"
        )


def headline(settings: Evaluate) -> str:
    """The condition that the page names: each estimator in the last way it answers."""
    return condition(noise="white", particle="all", snr=settings.headline_snr)


def error_rows(errors: Iterable[Errors], settings: Evaluate) -> list[dict]:
    """Mean, median and 90th percentile of the errors for every particle and over the particles.

    Of one particle the images of its stack are resampled, of all the particles. `all` are those whose angle is known
    over the longest period, so that chance is the same for each: of angles mod 180 those of C1 and C2.
    """
    groups: dict[tuple, list[Errors]] = {}
    for one in errors:
        answer = one.answer
        key = answer.estimator, answer.seed, answer.alignment, answer.stage, one.metric
        groups.setdefault((*key, answer.stack.noise, answer.stack.snr), []).append(one)
    rows: list[dict] = []
    for (*key, noise, snr), group in groups.items():
        if group[0].answer.stack.name != NOISE_ONLY:
            rows += _particle_rows(group, key, {"noise": noise, "snr": snr}, settings)
    return rows + _ratio_rows(rows) + _last_way(rows)


def _particle_rows(group: list[Errors], key: Sequence, where: dict, settings: Evaluate) -> list[dict]:
    estimator, seed, alignment, stage, metric = key
    about = {"alignment": alignment, **where} | ({"stage": stage} if stage else {})
    rows = []
    longest = max(one.period_deg for one in group)
    alike = [summary(one.values) for one in group if one.period_deg == longest]
    for statistic, take in _STATISTICS.items():
        rest = {"seed": seed, "statistic": statistic}
        for one in group:
            stack = one.answer.stack
            symmetric = {"symmetry": str(stack.symmetry_fold)} if one.period_deg not in (0.0, _FULL[metric]) else {}
            interval = bootstrap(one.values, take, seed=settings.seed, resamples=settings.bootstrap_samples)
            named = condition(**about, particle=stack.particle, **symmetric)
            rows.append(metric_row(estimator, metric, UNITS[metric], interval, condition=named, **rest))
        values = np.array([each[statistic] for each in alike])
        interval = over_particles(values, settings)
        named = condition(**about, particle="all")
        rows.append(metric_row(estimator, metric, UNITS[metric], interval, condition=named, **rest))
    return rows


def over_particles(values: np.ndarray, settings: Evaluate) -> Estimate:
    """Mean over particles (P,), which are resampled."""
    return bootstrap(values, seed=settings.seed, resamples=settings.bootstrap_samples)


def _ratio_rows(rows: list[dict]) -> list[dict]:
    """How much smaller the mean error is jointly than pair by pair, of those who answer in both ways."""
    found = {(row["estimator"], row["seed"], row["condition"]): row for row in _means(rows)}
    ratios = []
    for (estimator, seed, text), row in found.items():
        if f"alignment={JOINT}" not in text or "stage=" in text:
            continue
        pairs = found.get((estimator, seed, text.replace(f"alignment={JOINT}", f"alignment={PAIRWISE}")))
        if pairs and pairs["value"] > 0:
            named = {"condition": _without_alignment(text), "seed": seed, "n": row["n"]}
            ratios.append(metric_row(estimator, RATIO, UNITS[RATIO], row["value"] / pairs["value"], **named))
    return ratios


def _last_way(rows: list[dict]) -> list[dict]:
    """Every row of the way that comes last, joint where an estimator has it, again without naming the way."""
    joint = {row["estimator"] for row in rows if f"alignment={JOINT}" in row["condition"]}
    found = []
    for row in rows:
        # The recipe reports pairs alone
        last = JOINT if row["estimator"] in joint and row["metric"] != RECIPE else PAIRWISE
        if f"alignment={last};" in row["condition"] and "stage=" not in row["condition"]:
            found.append(row | {"condition": _without_alignment(row["condition"])})
    return found


def _means(rows: list[dict]) -> list[dict]:
    return [row for row in rows if row["metric"] == MOD180 and row["statistic"] == "mean"]


def _without_alignment(text: str) -> str:
    return ";".join(pair for pair in text.split(";") if not pair.startswith("alignment="))


_FULL = {MOD180: 180.0, WHOLE: 360.0, SHIFT: 0.0, RECIPE: 180.0}
_STATISTICS = {"mean": np.mean, "median": np.median, "p90": lambda values: float(np.percentile(values, 90))}
