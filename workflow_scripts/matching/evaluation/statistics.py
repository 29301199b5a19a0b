"""Predictions against the truth: metrics of every query, then statistics with intervals over cells of directions."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.matching.evaluation import metrics
from workflow_scripts.matching.evaluation.metrics import AUC, BY_CLASS, EXCESS, FLOOR, MEDIANS, UNITS
from workflow_scripts.matching.settings import Evaluate, base_of
from workflow_scripts.matching.simulation.orientations import nearest_direction
from workflow_scripts.matching.simulation.pattern_files import NOT_CRYSTAL, PLAIN, TWO_CRYSTALS, UNSEEN, Queries
from workflow_scripts.study.bootstrap import Estimate, bootstrap
from workflow_scripts.study.conditions import condition
from workflow_scripts.study.predictions import TRAINED_STAGES, Part, Predictions, read_predictions
from workflow_scripts.study.tables import metric_row, with_headline
from workflow_scripts.workflow.errors import InputError

TEMPLATES = ("ncc", "polar_template")
CHANCE = "chance"
GAINS = (BY_CLASS[1], BY_CLASS[5])
OVER_FAIR = {name: f"{name}_gain_of_unfair_pretraining" for name in GAINS}
EXPECTED = {top: f"{name}_expected" for top, name in BY_CLASS.items()}
HALF_WIDTH, NEIGHBOURS = "top5_half_width_of_168_queries", "pairs_within_10_deg_of_184"
_PUBLISHED_QUERIES, _PUBLISHED_GALLERY, _NEAR_DEG = 168, 184, 10.0
_TRAINING = ["estimator", "seed", "stage"]


@dataclass(frozen=True)
class Prediction:
    """The orientations that one stage of an estimator predicts for all queries.

    seed: of the training; None for an estimator that is not trained.
    stage: `pretrain` if the estimator also has a later stage, else None.
    rotation: (Q, K, 3, 3), best first.
    score: (Q, K), higher is better.
    gallery_index: (Q, K) the rows of the gallery that the predictions are rotated from.
    query: (Q,) rows of the predicted queries in the test file.
    """

    estimator: str
    seed: int | None
    stage: str | None
    rotation: np.ndarray
    score: np.ndarray
    gallery_index: np.ndarray
    query: np.ndarray


def read_stages(path: Path, queries: Queries) -> list[Prediction]:
    """All stages in a file of the stage predict.

    Raises:
        InputError: the file is broken, holds what is not a finite number, or belongs to other queries.
    """
    predictions = read_predictions(path)
    return [_prediction(part, predictions, queries) for part in predictions.parts]


def _prediction(part: Part, predictions: Predictions, queries: Queries) -> Prediction:
    query = part.read("query", shapes={"query": (-1,)})["query"] if "query" in part.names else np.arange(len(queries))
    if not np.isin(query, np.arange(len(queries))).all() or (np.diff(query) <= 0).any():
        raise InputError(f"{part.path}: query does not list rows of the test file in order; predict again")
    shape = len(query), -1
    shapes = {"rotation": (*shape, 3, 3), "score": shape, "gallery_index": shape}
    arrays = part.read(*shapes, shapes=shapes)
    candidates = min(array.shape[1] for array in arrays.values())
    if candidates < max(BY_CLASS):
        raise InputError(f"{part.path}: holds {candidates} candidates, fewer than {max(BY_CLASS)}; predict again")
    if arrays["gallery_index"].min() < 0 or arrays["gallery_index"].max() >= len(queries.gallery):
        raise InputError(f"{part.path}: gallery_index points outside the test file's gallery; predict again")
    seed = predictions.seed if TRAINED_STAGES.keys() & set(predictions.stages) else None
    stage = None if part.stage == predictions.stages[-1] else TRAINED_STAGES.get(part.stage, part.stage)
    arrays["rotation"] = arrays["rotation"].astype(float)
    return Prediction(predictions.estimator, seed, stage, **arrays, query=query)


def query_metrics(
    predictions: Sequence[Prediction], queries: Queries, settings: Evaluate, source: np.ndarray
) -> pd.DataFrame:
    """All metrics of every query.

    Args:
        source: (Q,) cell of beam directions of each query, over which intervals are resampled.

    Returns:
        one row for each prediction and query: estimator, seed, stage; query, source, kind, region, dose_e, score; a
        column for each of `UNITS`. For patterns without a crystal only the score is meaningful.
    """
    floor, _, _ = nearest_direction(queries.rotation[:, 2], queries.gallery_rotation[:, 2], queries.symmetry)
    columns = {name: getattr(queries, name) for name in ("kind", "region", "dose_e")}
    about = pd.DataFrame({"query": np.arange(len(queries)), "source": source, **columns, FLOOR: floor})
    truth = queries.rotation, queries.second_rotation, queries.kind == TWO_CRYSTALS
    parts = []
    for prediction in predictions:
        rows = prediction.query
        of_rows = (values[rows] for values in truth)
        by_query = metrics.by_rank(prediction.rotation, *of_rows, queries.symmetry, settings.tolerance_deg)
        part = about.iloc[rows].assign(**by_query, score=prediction.score[:, 0].astype(float))
        part[EXCESS] = part[metrics.DEG] - part[FLOOR]
        parts.append(part.assign(**{name: getattr(prediction, name) for name in _TRAINING}))
    return pd.concat(parts, ignore_index=True)


def check_complete(table: pd.DataFrame, settings: Evaluate) -> None:
    """Refuse a table that lacks an arm of the ablation or the headline.

    Raises:
        InputError: naming what is missing.
    """
    estimators = set(table["estimator"])
    absent = set(settings.ablation_arms(sorted(estimators))) - estimators
    if absent:
        raise InputError(f"--ablated holds no file of {', '.join(sorted(absent))}, which --ablations names")
    measured = sorted(set(of_plain_queries(table)["dose_e"]))
    if settings.headline_dose_e not in measured:
        doses = ", ".join(f"{dose:g}" for dose in measured) or "none"
        raise InputError(
            f"matching.evaluate.headline_dose_e is {settings.headline_dose_e:g}, but the test file's plain queries of"
            f" unseen directions have the doses {doses}; take one of matching.synthesize.dose_e"
        )


def condition_of(dose_e: float, kind: str, region: str, **further: str) -> str:
    """The condition of queries of one dose, kind and region."""
    return condition(dose_e=dose_e, kind=kind, region=region, **further)


def of_plain_queries(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of plain queries of unseen directions."""
    return table[(table["kind"] == PLAIN) & (table["region"] == UNSEEN)]


def headline(settings: Evaluate) -> str:
    """The condition of the numbers that the method's page quotes."""
    return condition_of(settings.headline_dose_e, PLAIN, UNSEEN)


def metric_rows(table: pd.DataFrame, queries: Queries, settings: Evaluate) -> list[dict]:
    """All rows of metrics.csv, without the metrics that an estimator does not have at the headline.

    Earlier stages and the arms of the ablation have rows only for plain queries at the headline's dose.
    """
    rows = []
    for training, group in table.groupby(_TRAINING, dropna=False, sort=False):
        rows += _training_rows(*training, group, settings)
    rows += _gain_rows(table, settings) + _published_rows(table, settings) + _chance_rows(queries, settings)
    rows = with_headline(rows, headline(settings))
    at_headline = {(row["estimator"], row["metric"], row["statistic"]) for row in rows if row["headline"]}
    return [row for row in rows if (row["estimator"], row["metric"], row["statistic"]) in at_headline]


def _training_rows(
    estimator: str, seed: float, stage: str | None, group: pd.DataFrame, settings: Evaluate
) -> list[dict]:
    """Statistics of one stage of an estimator, by dose, kind and region."""
    base, named = base_of(estimator), _stage_key(stage)
    if base != estimator:
        named["arm"] = estimator
    if named:
        group = group[(group["dose_e"] == settings.headline_dose_e) & group["kind"].isin((PLAIN, NOT_CRYSTAL))]
    rows, keys = [], {"seed": None if pd.isna(seed) else int(seed)}
    crystals = group[group["kind"] != NOT_CRYSTAL]
    for (dose, kind, region), part in crystals.groupby(["dose_e", "kind", "region"], sort=False):
        keys["condition"] = condition_of(dose, kind, region, **named)
        for metric, unit in UNITS.items():
            if kind == TWO_CRYSTALS and metric in (EXCESS, FLOOR):
                continue  # the floor is that of the first crystal
            rows.append(metric_row(base, metric, unit, _interval(part, metric, settings), **keys))
        others = group[(group["kind"] == NOT_CRYSTAL) & (group["dose_e"] == dose)]
        if kind == PLAIN and len(others):
            rows.append(metric_row(base, AUC, "1", _auc(part, others, settings), **keys))
    return rows


def _stage_key(stage: str | None) -> dict[str, str]:
    """The key of an earlier stage in conditions; empty for the last stage (NaN or None), which they do not name."""
    return {"stage": stage} if isinstance(stage, str) else {}


def best_template(table: pd.DataFrame, metric: str = BY_CLASS[5]) -> str | None:
    """The template matcher that is most often correct in these rows; None where there is none."""
    templates = table[table["estimator"].isin(TEMPLATES)]
    means = templates.groupby("estimator", sort=True)[metric].mean()
    return None if means.empty else str(means.idxmax())


def _interval(part: pd.DataFrame, metric: str, settings: Evaluate) -> Estimate:
    """Mean or median over the queries, whose sources are resampled."""
    options = {"seed": settings.seed, "resamples": settings.bootstrap_samples}
    if metric not in MEDIANS:
        by_source = part.groupby("source")[metric].agg(["mean", "size"])
        return bootstrap(by_source["mean"], weights=by_source["size"], **options)
    values = part[metric].to_numpy(float)
    names, source = np.unique(part["source"].to_numpy(), return_inverse=True)
    order = np.argsort(values, kind="stable")

    def median(drawn: np.ndarray, axis: int) -> np.ndarray:
        """Of the queries of the drawn sources (…, S): a query counts as often as its source was drawn."""
        below = np.cumsum(_times(drawn, len(names))[..., source[order]], axis=axis)
        half = below[..., -1:] / 2
        return (values[order][(below >= half).argmax(axis)] + values[order][(below > half).argmax(axis)]) / 2

    return bootstrap(np.arange(len(names)), median, **options)


def _auc(crystals: pd.DataFrame, others: pd.DataFrame, settings: Evaluate) -> Estimate:
    """The area under the curve; queries of both kinds are resampled together."""
    score = np.concatenate([crystals["score"], others["score"]])
    of_crystal = np.arange(len(score)) < len(crystals)
    above = np.sign(np.subtract.outer(score[of_crystal], score[~of_crystal])) / 2 + 0.5

    def area(drawn: np.ndarray, axis: int) -> np.ndarray:
        times = _times(drawn, len(score))
        pairs = times[..., of_crystal].sum(axis) * times[..., ~of_crystal].sum(axis)
        in_order = ((times[..., of_crystal] @ above) * times[..., ~of_crystal]).sum(axis)
        return in_order / np.where(pairs > 0, pairs, np.nan)

    return bootstrap(np.arange(len(score)), area, seed=settings.seed, resamples=settings.bootstrap_samples)


def _times(drawn: np.ndarray, sources: int) -> np.ndarray:
    """How often each source is among the drawn ones (…, S), (…, sources)."""
    draws = drawn.reshape(-1, drawn.shape[-1])
    apart = draws + sources * np.arange(len(draws))[:, None]  # the sources of every draw have numbers of their own
    times = np.bincount(apart.ravel(), minlength=len(draws) * sources)
    return times.reshape(*drawn.shape[:-1], sources).astype(float)


def _gain_rows(table: pd.DataFrame, settings: Evaluate) -> list[dict]:
    """Gain of the published arm over the same arm whose pretraining does not see the test, paired by query."""
    plain = table[(table["kind"] == PLAIN) & (table["dose_e"] == settings.headline_dose_e) & table["stage"].isna()]
    rows = []
    for _, part in plain.groupby(["region", "seed"], sort=False):
        published, fair = (part[part["estimator"] == arm] for arm in ("published", "fair_pretraining"))
        if not fair.empty:
            for metric, name in OVER_FAIR.items():
                rows += _paired(published, fair, metric, name, settings)
    return rows


def _paired(part: pd.DataFrame, reference: pd.DataFrame, metric: str, name: str, settings: Evaluate) -> list[dict]:
    """Mean gain over a reference, paired by query, at one dose and region."""
    of_reference = reference.set_index("query")[metric]
    rows = []
    for (estimator, seed, stage), group in part.groupby(_TRAINING, dropna=False, sort=False):
        gain = group.assign(gain=group[metric] - of_reference.reindex(group["query"]).to_numpy())
        interval = _interval(gain, "gain", settings)
        dose, region = group[["dose_e", "region"]].iloc[0]
        keys = {"condition": condition_of(dose, PLAIN, region, **_stage_key(stage)), "seed": int(seed)}
        rows.append(metric_row(estimator, name, "%", interval, **keys))
    return rows


def _published_rows(table: pd.DataFrame, settings: Evaluate) -> list[dict]:
    """Half width of the 95 % interval of the published arm's accuracy with 168 queries, as a binomial share."""
    of_arm = (table["estimator"] == "published") & table["stage"].isna()
    rows = []
    at_headline = of_plain_queries(table[of_arm & (table["dose_e"] == settings.headline_dose_e)])
    for seed, group in at_headline.groupby("seed", sort=False):
        share = group[BY_CLASS[5]].mean() / 100
        width = 196 * np.sqrt(share * (1 - share) / _PUBLISHED_QUERIES)
        keys = {"condition": headline(settings), "seed": int(seed), "n": len(group)}
        rows.append(metric_row("published", HALF_WIDTH, "%", width, **keys))
    return rows


def _chance_rows(queries: Queries, settings: Evaluate) -> list[dict]:
    """Closed forms for random orientations: the share correct, and the pairs of 184 that lie near each other."""
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
