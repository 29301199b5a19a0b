"""Predictions against the truth: metrics of every tile, then means with intervals over the sessions."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.background.metrics import UNITS, TrueTile, compare, od_rmse_up_to_constant
from workflow_scripts.background.settings import Evaluate
from workflow_scripts.background.tile_files import RawTiles
from workflow_scripts.background.variants import ARMS
from workflow_scripts.study.bootstrap import Estimate, bootstrap
from workflow_scripts.study.conditions import condition
from workflow_scripts.study.tables import metric_row, with_headline
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.files import array_names, read_arrays

# Stages of a learned estimator, as predictions name them and as conditions do; the last one of an estimator goes
# without saying.
STAGES = {"pretrained": "pretrain", "finetuned": "finetune", "fitted": None}
HEADLINE_TILES = 2
# Whose references the eigen flats were told, those of the same session or of an earlier one
SAME, EARLIER = "same", "earlier"
ERROR = "od_rmse_up_to_constant"
# The error after so many steps as a share of that after the most; its headline is the most steps up to `FEW_STEPS`
STEPS_RATIO = "steps_quality_ratio"
FEW_STEPS = 10
_ANSWER = re.compile(rf"(?P<stage>\w+)\.(?:n(?P<tiles>\d+)|(?P<references>{SAME}|{EARLIER}))\.log_flat")


@dataclass(frozen=True)
class Answer:
    """What one estimator says of all test tiles, told one number of tiles.

    seed: of the training; None where nothing was drawn.
    stage: pretrain or finetune where that is not the estimator's last, else None.
    tiles: of the session that it was shown, the tile in question among them; None where it saw references.
    references: `same` or `earlier`, else None.
    log_flat: ln of the flat field (K, M, H, W); spread: its uncertainty (K, M, H, W), or None.
    """

    estimator: str
    seed: int | None
    stage: str | None
    tiles: int | None
    references: str | None
    log_flat: np.ndarray
    spread: np.ndarray | None

    @property
    def told(self) -> dict[str, str | int]:
        """What a condition says of it, but for the stage."""
        return {"references": self.references} if self.references else {"tiles": self.tiles}

    @property
    def is_headline(self) -> bool:
        """Two tiles of an unseen session by an arm's last stage; of a baseline its own and only answer."""
        if self.estimator in ARMS:
            return self.stage is None and self.tiles == HEADLINE_TILES
        return self.references != EARLIER


@dataclass(frozen=True)
class Curve:
    """Quality against steps of one training: steps (C,), and the RMSE of every session (C, K) up to a constant."""

    estimator: str
    seed: int
    steps: np.ndarray
    rmse: np.ndarray


def read_answers(path: Path, tiles: RawTiles) -> Iterator[Answer]:
    """All answers in a file of the stage predict, one in memory at once.

    Raises:
        InputError: the file is broken or belongs to other tiles.
    """
    about = read_arrays(path, ["estimator", "seed", "stages"])
    stages = about["stages"].tolist()
    held = set(array_names(path))
    named = sorted((found for name in held if (found := _ANSWER.fullmatch(name))), key=lambda found: found[0])
    for stage in stages:
        if stage not in STAGES or stage not in {found["stage"] for found in named}:
            raise InputError(f"{path}: there is no answer of the stage {stage}, which it names; predict again")
        for found in named:
            if found["stage"] != stage:
                continue
            name = found[0].removesuffix("log_flat")
            wanted = [f"{name}{part}" for part in ("log_flat", "spread") if f"{name}{part}" in held]
            arrays = read_arrays(path, wanted)
            for array, values in arrays.items():
                if values.shape != tiles.log_flat.shape:
                    raise InputError(
                        f"{path}: {array} is {values.shape}, but the test file asks for {tiles.log_flat.shape};"
                        " predict again"
                    )
                if not np.isfinite(values).all():
                    raise InputError(f"{path}: {array} holds what is not a finite number; predict again")
            spread = arrays.get(f"{name}spread")
            if spread is not None and not spread.any():
                spread = None  # of a single sample, or of a regression
            yield Answer(
                estimator=str(about["estimator"]),
                seed=int(about["seed"]) if STAGES[stage] else None,
                stage=None if stage == stages[-1] else STAGES[stage],
                tiles=int(found["tiles"]) if found["tiles"] else None,
                references=found["references"],
                log_flat=arrays[f"{name}log_flat"],
                spread=spread,
            )


def read_curve(path: Path, tiles: RawTiles) -> Curve | None:
    """The curve of quality against steps, where the file has one.

    Raises:
        InputError: it is broken or belongs to other tiles.
    """
    if "curve.steps" not in array_names(path):
        return None
    found = read_arrays(path, ["estimator", "seed", "curve.steps", "curve.tiles", "curve.log_flat"])
    steps, chosen, flats = (found[f"curve.{name}"] for name in ("steps", "tiles", "log_flat"))
    sessions, number, *size = tiles.counts.shape
    expected = (len(steps), sessions, len(chosen), *size)
    if flats.shape != expected or not ((chosen >= 0) & (chosen < number)).all():
        raise InputError(
            f"{path}: curve.log_flat is {flats.shape} of the tiles {', '.join(map(str, chosen.tolist()))}, but the test"
            f" file asks for {expected} of {number} tiles; predict again"
        )
    if not np.isfinite(flats).all():
        raise InputError(f"{path}: curve.log_flat holds what is not a finite number; predict again")
    rmse = np.zeros((len(steps), sessions))
    for session in range(sessions):
        truths = [true_tile(tiles, session, tile) for tile in chosen.tolist()]
        for step, flat in enumerate(flats[:, session]):
            rmse[step, session] = np.mean([od_rmse_up_to_constant(*pair) for pair in zip(flat, truths, strict=True)])
    return Curve(str(found["estimator"]), int(found["seed"]), steps, rmse)


def zeros(tiles: RawTiles) -> Answer:
    """The trivial answer: a flat field without contrast, so that nothing is corrected."""
    return Answer("zeros", None, None, 1, None, np.broadcast_to(np.float32(0), tiles.log_flat.shape), None)


def tile_metrics(answers: Iterable[Answer], tiles: RawTiles) -> pd.DataFrame:
    """All metrics of every answer to every tile.

    Returns:
        one row for each answer and tile: estimator, seed, stage, tiles, references, is_headline, session, tile, and a
        column for each metric.
    """
    sessions, number = tiles.counts.shape[:2]
    places = [(session, tile) for session in range(sessions) for tile in range(number)]
    truths = [true_tile(tiles, *place) for place in places]
    parts = []
    for answer in answers:
        found = pd.DataFrame(
            [
                compare(answer.log_flat[place], None if answer.spread is None else answer.spread[place], truth)
                for place, truth in zip(places, truths, strict=True)
            ]
        )
        about = {name: getattr(answer, name) for name in (*_KEYS, "is_headline")}
        parts.append(pd.concat([pd.DataFrame(places, columns=["session", "tile"]), found], axis=1).assign(**about))
    return pd.concat(parts, ignore_index=True)


def true_tile(tiles: RawTiles, session: int, tile: int) -> TrueTile:
    """What lies behind one of the test tiles."""
    at = session, tile
    return TrueTile.of(tiles.log_transmission[at], tiles.log_flat[at], tiles.open_beam[at])


def check_complete(scores: pd.DataFrame, curves: Sequence[Curve], settings: Evaluate) -> None:
    """Refuse what lacks an estimator, its headline or the curve over steps.

    Raises:
        InputError: saying which of them.
    """
    found = set(scores["estimator"])
    missing = set(settings.baselines) - found
    if missing:
        raise InputError(f"--predictions holds no file of {', '.join(sorted(missing))}, which --baselines names")
    for estimator, group in scores.groupby("estimator"):
        if not group["is_headline"].any():
            wanted = f"from {HEADLINE_TILES} tiles" if estimator in ARMS else "from references of the same session"
            raise InputError(f"--predictions holds no answer of {estimator} {wanted} at its last stage; predict again")
    twice = scores.duplicated([*_KEYS, "session", "tile"])
    if twice.any():
        raise InputError(f"--predictions holds two files of {scores[twice]['estimator'].iloc[0]} and the same seed")
    if "corrected" in found and not any(curve.estimator == "corrected" for curve in curves):
        raise InputError("--predictions holds no curve of quality against steps of corrected; predict again")


def metric_rows(scores: pd.DataFrame, curves: Sequence[Curve], settings: Evaluate) -> list[dict]:
    """All rows of metrics.csv, the headline's included: means over sessions, which are resampled.

    A metric that an estimator lacks at its headline is left out.
    """
    rows, headlines = [], {}
    for (estimator, seed, stage, tiles, references), group in scores.groupby(_KEYS, dropna=False, sort=False):
        told = {"references": references} if isinstance(references, str) else {"tiles": int(tiles)}
        about = _condition(stage, **told)
        if group["is_headline"].all():
            headlines[estimator] = about
        by_session = group.groupby("session")[list(UNITS)].mean()
        for metric, unit in UNITS.items():
            interval = _interval(by_session[[metric]].dropna().to_numpy(), settings)
            if interval:
                rows.append(metric_row(estimator, metric, unit, interval, condition=about, seed=_seed(seed)))
    rows += _ratio_rows(scores, settings)
    for curve in curves:
        rows += _curve_rows(curve, settings)
    kept = []
    for estimator, about in headlines.items():
        of_it = [row for row in rows if row["estimator"] == estimator and row["metric"] != STEPS_RATIO]
        with_one = {row["metric"] for row in of_it if row["condition"] == about}
        kept += with_headline([row for row in of_it if row["metric"] in with_one], about)
        steps = sorted({number for curve in curves if curve.estimator == estimator for number in curve.steps.tolist()})
        if steps:
            few = max([number for number in steps if number <= FEW_STEPS], default=steps[0])
            of_steps = [row for row in rows if row["estimator"] == estimator and row["metric"] == STEPS_RATIO]
            kept += with_headline(of_steps, _condition(None, steps=few, tiles=HEADLINE_TILES))
    return kept


def _ratio_rows(scores: pd.DataFrame, settings: Evaluate) -> list[dict]:
    """The error of every arm from two tiles, as a share of that of each baseline, on the same tiles."""
    rows = []
    arms = scores[scores["estimator"].isin(ARMS) & (scores["tiles"] == HEADLINE_TILES)]
    for (arm, seed, stage, *_), group in arms.groupby(_KEYS, dropna=False, sort=False):
        for (other, at, other_stage, _, references), found in scores.groupby(_KEYS, dropna=False, sort=False):
            # A network is compared with another of the same seed and stage; what has no stages, with both
            same = (at, str(other_stage), found["tiles"].iloc[0]) == (seed, str(stage), HEADLINE_TILES)
            if other == arm or other in ("published", "corrected") or (other in ARMS and not same):
                continue
            name = f"{other}_{references}" if isinstance(references, str) else other
            errors = [part.groupby("session")[ERROR].mean() for part in (group, found)]
            interval = bootstrap(
                np.stack(errors, axis=1),
                lambda pairs: pairs[:, 0].sum() / pairs[:, 1].sum(),
                seed=settings.seed,
                resamples=settings.bootstrap_samples,
            )
            about = _condition(stage, tiles=HEADLINE_TILES)
            rows.append(metric_row(arm, f"{ERROR}_over_{name}", "1", interval, condition=about, seed=_seed(seed)))
    return rows


def _curve_rows(curve: Curve, settings: Evaluate) -> list[dict]:
    """The error at every number of steps, and as a share of that at the last."""
    rows = []
    for steps, rmse in zip(curve.steps.tolist(), curve.rmse, strict=True):
        named = {"condition": _condition(None, steps=steps, tiles=HEADLINE_TILES), "seed": curve.seed}
        rows.append(metric_row(curve.estimator, ERROR, "1", _interval(rmse[:, None], settings), **named))
        ratio = bootstrap(
            np.stack([rmse, curve.rmse[-1]], axis=1),
            lambda pairs: pairs[:, 0].sum() / pairs[:, 1].sum(),
            seed=settings.seed,
            resamples=settings.bootstrap_samples,
        )
        rows.append(metric_row(curve.estimator, STEPS_RATIO, "1", ratio, **named))
    return rows


_KEYS = ["estimator", "seed", "stage", "tiles", "references"]


def _condition(stage: str | None, **told: str | int) -> str:
    return condition(**told, **({"stage": stage} if isinstance(stage, str) else {}))


def _seed(seed: float | None) -> int | None:
    return None if pd.isna(seed) else int(seed)


def _interval(by_session: np.ndarray, settings: Evaluate) -> Estimate | None:
    """Mean over sessions (S, 1), each the mean of its tiles, and its interval; None where no tile has a value."""
    if not len(by_session):
        return None
    return bootstrap(by_session[:, 0], seed=settings.seed, resamples=settings.bootstrap_samples)
