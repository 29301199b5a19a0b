"""Answers against the truth: metrics of every query, then statistics with intervals over cells of directions."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.matching.evaluation import metrics
from workflow_scripts.matching.evaluation.metrics import AUC, BY_CLASS, EXCESS, FLOOR, MEDIANS, UNITS
from workflow_scripts.matching.settings import Evaluate
from workflow_scripts.matching.simulation.pattern_files import NOT_CRYSTAL, PLAIN, TWO_CRYSTALS, UNSEEN, Queries
from workflow_scripts.matching.variants import VARIANTS, ablation_arms, base_of
from workflow_scripts.study.bootstrap import Estimate
from workflow_scripts.study.conditions import condition
from workflow_scripts.study.predictions import read_predictions
from workflow_scripts.study.tables import metric_row, with_headline
from workflow_scripts.workflow.errors import InputError

TEMPLATES = ("ncc", "polar_template")
CHANCE = "chance"
GAINS = (BY_CLASS[1], BY_CLASS[5])
OVER_TEMPLATE = {name: f"{name}_gain_over_template" for name in GAINS}
OVER_FAIR = {name: f"{name}_gain_of_unfair_pretraining" for name in GAINS}
EXPECTED = {top: f"{name}_expected" for top, name in BY_CLASS.items()}
HALF_WIDTH, NEIGHBOURS = "top5_half_width_of_168_queries", "pairs_within_10_deg_of_184"
# Units of the metrics that are not in UNITS
UNITS_BESIDE = {
    **dict.fromkeys((*OVER_TEMPLATE.values(), *OVER_FAIR.values(), *EXPECTED.values(), HALF_WIDTH), "%"),
    **{AUC: "1", NEIGHBOURS: "1"},
}
_PUBLISHED_QUERIES, _PUBLISHED_GALLERY, _NEAR_DEG = 168, 184, 10.0
# Stages of a trained estimator, as conditions name them; a condition does not name the last one.
_STAGES = {"pretrained": "pretrain", "finetuned": "finetune"}


@dataclass(frozen=True)
class Answer:
    """The answers of one stage of one estimator to all queries.

    seed: of the training; None where nothing was trained.
    stage: pretrain or finetune where that is not the estimator's last, else None.
    rotation: (Q, K, 3, 3), best first.
    score: (Q, K), higher is better.
    gallery_index: (Q, K) the rows of the gallery that the answers are turned from.
    """

    estimator: str
    seed: int | None
    stage: str | None
    rotation: np.ndarray
    score: np.ndarray
    gallery_index: np.ndarray


def read_answers(path: Path, queries: Queries) -> list[Answer]:
    """All answers in a file of the stage predict, one for each stage.

    Raises:
        InputError: the file is broken, holds what is not a finite number, or belongs to other queries.
    """
    predictions = read_predictions(path)
    answers = []
    for part in predictions.parts:
        kept = part.read("score", shapes={"score": (len(queries), -1)})["score"].shape[1]
        shape = len(queries), kept
        shapes = {"rotation": (*shape, 3, 3), "score": shape, "gallery_index": shape}
        arrays = part.read(*shapes, shapes=shapes)
        if kept < max(BY_CLASS):
            raise InputError(f"{path}: holds {kept} answers to each query, fewer than {max(BY_CLASS)}; predict again")
        index = arrays["gallery_index"]
        if index.min() < 0 or index.max() >= len(queries.gallery):
            raise InputError(f"{path}: gallery_index points outside the test file's gallery; predict again")
        is_last = part.stage == predictions.stages[-1]
        answers.append(
            Answer(
                estimator=predictions.estimator,
                seed=predictions.seed if part.stage in _STAGES else None,
                stage=None if is_last else _STAGES.get(part.stage, part.stage),
                rotation=arrays["rotation"].astype(float),
                score=arrays["score"],
                gallery_index=index,
            )
        )
    return answers


def query_metrics(
    answers: Sequence[Answer], queries: Queries, settings: Evaluate, source: np.ndarray | None = None
) -> pd.DataFrame:
    """All metrics of every query.

    Args:
        source: (Q,) what intervals resample, such as the cell of beam directions of each query; the query itself
            by default.

    Returns:
        one row for each answer and query: estimator, seed, stage; query, source, kind, region, dose_e, score; a column
        for each of `UNITS`. Of patterns without a crystal only the score has a meaning.
    """
    floor, _, _ = metrics.nearest_direction(queries.rotation, queries.gallery_rotation, queries.symmetry)
    about = pd.DataFrame(
        {
            "query": np.arange(len(queries)),
            "source": np.arange(len(queries)) if source is None else source,
            "kind": queries.kind,
            "region": queries.region,
            "dose_e": queries.dose_e,
            FLOOR: floor,
        }
    )
    two = queries.kind == TWO_CRYSTALS
    parts = []
    for answer in answers:
        by_query = metrics.by_rank(
            answer.rotation, queries.rotation, queries.second_rotation, two, queries.symmetry, settings.tolerance_deg
        )
        part = about.assign(**by_query, score=answer.score[:, 0].astype(float))
        part[EXCESS] = part[metrics.DEG] - floor
        part = part.assign(estimator=answer.estimator, seed=answer.seed, stage=answer.stage)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def check_complete(table: pd.DataFrame, settings: Evaluate) -> None:
    """Refuse a table that lacks an arm of the ablation or the headline.

    Raises:
        InputError: naming them.
    """
    estimators = set(table["estimator"])
    absent = set(ablation_arms(settings.ablations, sorted(estimators))) - estimators
    if absent:
        raise InputError(f"--ablated holds no file of {', '.join(sorted(absent))}, which --ablations names")
    at = table[(table["kind"] == PLAIN) & (table["region"] == UNSEEN)]
    if not (at["dose_e"] == settings.headline_dose_e).any():
        doses = ", ".join(f"{dose:g}" for dose in sorted(set(at["dose_e"]))) or "none"
        raise InputError(
            f"matching.evaluate.headline_dose_e is {settings.headline_dose_e:g}, but the test file's plain queries of"
            f" unseen directions have the doses {doses}; take one of matching.synthesize.dose_e"
        )


def where(dose_e: float, kind: str, region: str) -> dict[str, str | float]:
    """The keys and values that every condition has."""
    return {"dose_e": dose_e, "kind": kind, "region": region}


def headline(settings: Evaluate) -> str:
    """The condition of the numbers that the method's page quotes."""
    return condition(**where(settings.headline_dose_e, PLAIN, UNSEEN))


def metric_rows(table: pd.DataFrame, queries: Queries, settings: Evaluate) -> list[dict]:
    """All rows of metrics.csv, without the metrics that an estimator does not have at the headline.

    Earlier stages and the arms of the ablation have rows of plain queries at the headline's dose alone.
    """
    rows = []
    for (estimator, seed, stage), group in _groups(table):
        named = {"stage": stage} if isinstance(stage, str) else {}
        base = base_of(estimator)
        if base != estimator:
            named["arm"] = estimator
        if named:
            group = group[(group["dose_e"] == settings.headline_dose_e) & group["kind"].isin((PLAIN, NOT_CRYSTAL))]
        row_keys = {"seed": None if pd.isna(seed) else int(seed)}
        crystals = group[group["kind"] != NOT_CRYSTAL]
        for (dose, kind, region), part in crystals.groupby(["dose_e", "kind", "region"], sort=False):
            row_keys["condition"] = condition(**where(dose, kind, region), **named)
            for metric, unit in UNITS.items():
                if kind == TWO_CRYSTALS and metric in (EXCESS, FLOOR):
                    continue  # the floor is that of the first crystal
                rows.append(metric_row(base, metric, unit, _interval(part, metric, settings), **row_keys))
            others = group[(group["kind"] == NOT_CRYSTAL) & (group["dose_e"] == dose)]
            if kind == PLAIN and len(others):
                rows.append(metric_row(base, AUC, "1", _auc(part, others, settings), **row_keys))
    rows += _gain_rows(table, settings) + _published_rows(table, queries, settings)
    rows += _chance_rows(queries, settings)
    rows = with_headline(rows, headline(settings))
    kept = {(row["estimator"], row["metric"], row["statistic"]) for row in rows if row["headline"]}
    return [row for row in rows if (row["estimator"], row["metric"], row["statistic"]) in kept]


def best_template(table: pd.DataFrame, metric: str = BY_CLASS[5]) -> str | None:
    """The template matcher that is right most often in these rows; None where there is none."""
    templates = table[table["estimator"].isin(TEMPLATES)]
    means = templates.groupby("estimator", sort=True)[metric].mean()
    return None if means.empty else str(means.idxmax())


def _groups(table: pd.DataFrame) -> Iterator[tuple[tuple, pd.DataFrame]]:
    yield from table.groupby(["estimator", "seed", "stage"], dropna=False, sort=False)


@lru_cache(maxsize=8)
def _times(sources: int, seed: int, resamples: int) -> np.ndarray:
    """How often each source is drawn, (resamples, sources): as `study.bootstrap` draws."""
    draws = np.random.default_rng(seed).integers(sources, size=(resamples, sources))
    return np.stack([np.bincount(draw, minlength=sources) for draw in draws]).astype(float)


def _interval(part: pd.DataFrame, metric: str, settings: Evaluate) -> Estimate:
    """Mean or median over the queries, whose sources are resampled; all resamples in one step."""
    values = part[metric].to_numpy(float)
    names, source = np.unique(part["source"].to_numpy(), return_inverse=True)
    value = float(np.median(values) if metric in MEDIANS else values.mean())
    if len(names) == 1:
        return Estimate(value, float("nan"), float("nan"), 1)
    times = _times(len(names), settings.seed, settings.bootstrap_samples)
    if metric in MEDIANS:
        order = np.argsort(values, kind="stable")
        below = np.cumsum(times[:, source[order]], axis=1)
        half = below[:, -1:] / 2
        spread = (values[order][(below >= half).argmax(axis=1)] + values[order][(below > half).argmax(axis=1)]) / 2
    else:
        spread = (times @ np.bincount(source, values)) / (times @ np.bincount(source))
    low, high = np.quantile(spread, [0.025, 0.975])
    return Estimate(value, float(low), float(high), len(names))


def _auc(crystals: pd.DataFrame, others: pd.DataFrame, settings: Evaluate) -> Estimate:
    """The area under the curve; queries of both kinds are resampled together."""
    score = np.concatenate([crystals["score"], others["score"]])
    of_crystal = np.arange(len(score)) < len(crystals)
    above = np.sign(np.subtract.outer(score[of_crystal], score[~of_crystal])) / 2 + 0.5
    times = _times(len(score), settings.seed, settings.bootstrap_samples)
    pairs = times[:, of_crystal].sum(axis=1) * times[:, ~of_crystal].sum(axis=1)
    in_order = ((times[:, of_crystal] @ above) * times[:, ~of_crystal]).sum(axis=1)
    low, high = np.quantile(in_order[pairs > 0] / pairs[pairs > 0], [0.025, 0.975])
    return Estimate(metrics.auc(score, of_crystal), float(low), float(high), len(score))


def _gain_rows(table: pd.DataFrame, settings: Evaluate) -> list[dict]:
    """By how much each arm exceeds the best template matcher of that dose, query by query, and the lower bound."""
    at_headline = table["dose_e"] == settings.headline_dose_e
    plain = table[(table["kind"] == PLAIN) & (at_headline | table["stage"].isna())]
    rows = []
    for (dose, region), at in plain.groupby(["dose_e", "region"], sort=False):
        for metric, name in OVER_TEMPLATE.items():
            template = best_template(at, metric)
            if template is None:
                continue
            reference = at[at["estimator"] == template].set_index("query")[metric]
            for arm in VARIANTS:
                rows += _paired(
                    at[at["estimator"] == arm], reference, metric, name, where(dose, PLAIN, region), settings
                )
    at = plain[(plain["dose_e"] == settings.headline_dose_e) & plain["stage"].isna()]
    for (region, seed), fair in at[at["estimator"] == "fair_pretraining"].groupby(["region", "seed"], sort=False):
        unfair = at[(at["estimator"] == "published") & (at["region"] == region) & (at["seed"] == seed)]
        about = where(settings.headline_dose_e, PLAIN, region)
        for metric, name in OVER_FAIR.items():
            rows += _paired(unfair, fair.set_index("query")[metric], metric, name, about, settings)
    return rows


def _paired(
    at: pd.DataFrame, reference: pd.Series, metric: str, name: str, about: Mapping, settings: Evaluate
) -> list[dict]:
    rows = []
    for (estimator, seed, stage), group in _groups(at):
        gain = group.assign(gain=group[metric] - reference.reindex(group["query"]).to_numpy())
        interval = _interval(gain, "gain", settings)
        stage_pair = {"stage": stage} if isinstance(stage, str) else {}
        row_keys = {"condition": condition(**about, **stage_pair), "seed": int(seed)}
        rows.append(metric_row(estimator, name, "%", interval, **row_keys))
        if np.isfinite(interval.low):
            rows.append(metric_row(estimator, name, "%", interval.low, statistic="low", n=interval.n, **row_keys))
    return rows


def _published_rows(table: pd.DataFrame, queries: Queries, settings: Evaluate) -> list[dict]:
    """How far 168 queries would fix the published arm's accuracy: half of the 95 % interval of a binomial share."""
    at = table[
        (table["estimator"] == "published")
        & (table["kind"] == PLAIN)
        & (table["region"] == UNSEEN)
        & (table["dose_e"] == settings.headline_dose_e)
        & table["stage"].isna()
    ]
    rows = []
    for seed, group in at.groupby("seed", sort=False):
        share = group[BY_CLASS[5]].mean() / 100
        width = 196 * np.sqrt(share * (1 - share) / _PUBLISHED_QUERIES)
        row_keys = {"condition": headline(settings), "seed": int(seed), "n": len(group)}
        rows.append(metric_row("published", HALF_WIDTH, "%", width, **row_keys))
    return rows


def _chance_rows(queries: Queries, settings: Evaluate) -> list[dict]:
    """Of random orientations, in closed form: how often they are right, and how many of 184 lie near each other."""
    operations = len(queries.symmetry)
    rows = []
    for top, name in EXPECTED.items():
        value = metrics.chance_percent(settings.tolerance_deg, operations, top)
        rows.append(metric_row(CHANCE, name, "%", value, condition=headline(settings)))
    pairs = _PUBLISHED_GALLERY * (_PUBLISHED_GALLERY - 1) / 2
    for text, times in ((headline(settings), 1), (condition(symmetry="laue_and_half_turn"), 2)):
        value = pairs * metrics.chance_percent(_NEAR_DEG, times * operations) / 100
        rows.append(metric_row(CHANCE, NEIGHBOURS, "1", value, condition=text))
    return rows
