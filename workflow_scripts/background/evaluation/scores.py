"""Rows of metrics.csv: metrics of every tile (functions of metrics.py), then means with intervals over sessions."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.background.evaluation.metrics import ERROR, METRICS, centred_error, compare, true_tile
from workflow_scripts.background.settings import VARIANTS, Evaluate
from workflow_scripts.background.simulation.tile_files import RawTiles
from workflow_scripts.study.bootstrap import Estimate, bootstrap
from workflow_scripts.study.conditions import condition, parse_condition, with_condition_columns
from workflow_scripts.study.metrics import root_mean_square
from workflow_scripts.study.predictions import TRAINED_STAGES, read_predictions
from workflow_scripts.study.tables import metric_row, with_headline
from workflow_scripts.workflow.errors import InputError

HEADLINE_TILES = 2
# Error after so many steps over that after the most; the headline is the largest number of steps up to `FEW_STEPS`
STEPS_RATIO = "steps_quality_ratio"
FEW_STEPS = 10
_KEYS = ["estimator", "seed", "condition"]


@dataclass(frozen=True)
class Prediction:
    """The log flat fields of one estimator under one condition.

    Attributes:
        estimator: its name.
        seed: of the training; None for an estimator that is not trained.
        condition: as in metrics.csv; names the stage if it is not the estimator's last.
        log_flat: ln of the flat fields (K, M, H, W).
        spread: uncertainty of log_flat (K, M, H, W), or None.
        tile_numbers: numbers of the M tiles in every session; None if these are all tiles.
    """

    estimator: str
    seed: int | None
    condition: str
    log_flat: np.ndarray
    spread: np.ndarray | None = None
    tile_numbers: np.ndarray | None = None

    @property
    def is_headline(self) -> bool:
        """Whether the prediction can be the headline, of which the first of an estimator counts.

        Trained estimators: two tiles, last stage. Others: any, except from references of an earlier session.
        """
        if self.seed is not None:
            return self.condition == condition(tiles=HEADLINE_TILES)
        return parse_condition(self.condition).get("references") != "earlier"


def predictions_of(path: Path, tiles: RawTiles) -> Iterator[Prediction]:
    """All predictions in a file of the stage predict, one at a time in memory.

    Raises:
        InputError: the file is damaged or belongs to other tiles.
    """
    predictions = read_predictions(path)
    sessions, number, *size = tiles.counts.shape
    for part in predictions.parts:
        tile_numbers = part.read("tile_numbers")["tile_numbers"] if "tile_numbers" in part.names else None
        if tile_numbers is not None and not set(tile_numbers.tolist()) <= set(range(number)):
            raise InputError(
                f"{path}: {part.stage}/{part.condition} holds the tiles {', '.join(map(str, tile_numbers.tolist()))},"
                f" but the sessions of the test file have {number}; predict again"
            )
        shape = sessions, number if tile_numbers is None else len(tile_numbers), *size
        images = ["log_flat", "spread"] if "spread" in part.names else ["log_flat"]
        arrays = part.read(*images, shapes=dict.fromkeys(images, shape))
        is_last, stage = part.stage == predictions.stages[-1], TRAINED_STAGES.get(part.stage, part.stage)
        yield Prediction(
            estimator=predictions.estimator,
            seed=predictions.seed if part.stage in TRAINED_STAGES else None,
            condition=part.condition if is_last else condition(**part.values, stage=stage),
            tile_numbers=tile_numbers,
            **arrays,
        )


def zeros(tiles: RawTiles) -> Prediction:
    """The trivial prediction: a constant flat field, that is, no correction."""
    return Prediction("zeros", None, condition(tiles=1), np.broadcast_to(np.float32(0), tiles.log_flat.shape))


def tile_metrics(predictions: Iterable[Prediction], tiles: RawTiles) -> pd.DataFrame:
    """All metrics of every prediction for every tile; for predictions with `steps` in their condition only the error.

    Returns:
        One row per prediction and tile: estimator, seed, condition, is_headline, session, tile, a column for each
        metric, and the values of the condition: references, tiles, steps.
    """
    sessions, number = tiles.counts.shape[:2]
    truths = {place: true_tile(tiles, *place) for place in np.ndindex(sessions, number)}
    parts = []
    for prediction in predictions:
        numbers = range(number) if prediction.tile_numbers is None else prediction.tile_numbers.tolist()
        by_steps = "steps" in parse_condition(prediction.condition)
        rows = []
        for session, index in np.ndindex(sessions, len(numbers)):
            log_flat, truth = prediction.log_flat[session, index], truths[session, numbers[index]]
            if by_steps:
                metrics = {ERROR: root_mean_square(centred_error(log_flat, truth)[truth.lit])}
            else:
                spread = None if prediction.spread is None else prediction.spread[session, index]
                metrics = compare(log_flat, spread, truth)
            rows.append({"session": session, "tile": numbers[index]} | metrics)
        about = {name: getattr(prediction, name) for name in (*_KEYS, "is_headline")}
        parts.append(pd.DataFrame(rows, columns=["session", "tile", *METRICS]).assign(**about))
    scores = pd.concat(parts, ignore_index=True)
    return with_condition_columns(scores, texts=("references",), numbers=("tiles", "steps"))


def check_complete(scores: pd.DataFrame) -> None:
    """Refuse an estimator without a headline, and duplicate predictions.

    Raises:
        InputError: naming the estimator.
    """
    for estimator, group in scores.groupby("estimator"):
        if not group["is_headline"].any():
            trained = group["seed"].notna().any()
            source = f"from {HEADLINE_TILES} tiles" if trained else "from references of the same session"
            raise InputError(f"--predictions lacks {estimator} {source} at the last stage; predict again")
    twice = scores.duplicated([*_KEYS, "session", "tile"])
    if twice.any():
        raise InputError(f"--predictions has two files of {scores[twice]['estimator'].iloc[0]} with the same seed")


def metric_rows(scores: pd.DataFrame, settings: Evaluate) -> list[dict]:
    """All rows of metrics.csv: means over sessions, with intervals that resample sessions.

    Metrics that an estimator does not have at its headline are left out.
    """
    rows = []
    for (estimator, seed, text), group in scores.groupby(_KEYS, dropna=False, sort=False):
        by_session = group.groupby("session")[list(METRICS)].mean()
        for metric in METRICS:
            values = by_session[metric].dropna()
            if len(values):
                interval = bootstrap(values, seed=settings.seed, resamples=settings.bootstrap_samples)
                rows.append(metric_row(estimator, metric, "1", interval, condition=text, seed=_seed(seed)))
    headlines = scores[scores["is_headline"]].groupby("estimator")["condition"].first().to_dict()
    rows += _ratio_rows(scores, headlines, settings)
    rows = [row | {"headline": row["condition"] == headlines[row["estimator"]]} for row in rows]
    rows += _steps_rows(scores, settings)
    at_headline = {(row["estimator"], row["metric"]) for row in rows if row["headline"]}
    return [row for row in rows if (row["estimator"], row["metric"]) in at_headline]


def _ratio_rows(scores: pd.DataFrame, headlines: dict[str, str], settings: Evaluate) -> list[dict]:
    """Rows with the error of every trained estimator over that of each baseline, on the same tiles.

    From two tiles it is compared with all baselines, from more with those that use as many.

    headlines: condition of the headline, by estimator.
    """
    rows, whole = [], scores[scores["steps"].isna()]
    trained = whole[whole["seed"].notna()]
    at_headline = whole["condition"] == whole["estimator"].map(headlines)
    others = whole[at_headline | whole["references"].notna() | whole["seed"].notna()]
    for (estimator, seed, text), group in trained.groupby(_KEYS, sort=False):
        for (baseline, other_seed, other_text), compared in others.groupby(_KEYS, dropna=False, sort=False):
            # Networks are compared at the same seed and stage; an estimator without training, with both stages
            comparable = pd.isna(other_seed) or (other_seed, other_text) == (seed, text)
            comparable &= group["tiles"].iloc[0] in (HEADLINE_TILES, compared["tiles"].iloc[0])
            if baseline == estimator or baseline in VARIANTS or not comparable:
                continue
            references = parse_condition(other_text).get("references")
            name = f"{baseline}_{references}" if references else baseline
            ratio = _ratio(*(part.groupby("session")[ERROR].mean() for part in (group, compared)), settings)
            rows.append(metric_row(estimator, f"{ERROR}_over_{name}", "1", ratio, condition=text, seed=_seed(seed)))
    return rows


def _steps_rows(scores: pd.DataFrame, settings: Evaluate) -> list[dict]:
    """Rows with the error at every number of steps over that at the most; few steps are the headline."""
    rows = []
    for (estimator, seed), curve in scores[scores["steps"].notna()].groupby(["estimator", "seed"], sort=False):
        errors = {text: part.groupby("session")[ERROR].mean() for text, part in curve.groupby("condition", sort=False)}
        steps = {text: int(parse_condition(text)["steps"]) for text in errors}
        last = errors[max(steps, key=steps.get)]
        few = max([text for text in steps if steps[text] <= FEW_STEPS] or [min(steps, key=steps.get)], key=steps.get)
        for text, error in errors.items():
            ratio = _ratio(error, last, settings)
            row = metric_row(estimator, STEPS_RATIO, "1", ratio, condition=text, seed=_seed(seed))
            rows += with_headline([row], few)
    return rows


def _ratio(errors: pd.Series, reference: pd.Series, settings: Evaluate) -> Estimate:
    """Ratio of the sums over sessions of errors and reference errors, with an interval that resamples sessions."""
    options = {"seed": settings.seed, "resamples": settings.bootstrap_samples}
    return bootstrap(errors / reference, weights=reference, **options)


def _seed(seed: float | None) -> int | None:
    return None if pd.isna(seed) else int(seed)
