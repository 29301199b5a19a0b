"""Errors and their statistics: periods of symmetric particles, particles in the mean, and the rows of the table."""

import numpy as np
import pandas as pd
import pytest

from tests.alignment.study import EVALUATE
from workflow_scripts.alignment.evaluation import scores as evaluation
from workflow_scripts.alignment.evaluation.scores import MOD180, RATIO, SHIFT, WHOLE, Prediction
from workflow_scripts.alignment.settings import Evaluate
from workflow_scripts.alignment.simulation.labels import JOINT, PAIRWISE
from workflow_scripts.study.tables import with_headline, write_metrics
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.settings import check

SETTINGS = check(Evaluate, EVALUATE)
N = 50


class Known:
    """A stack whose truth is given."""

    def __init__(self, particle="asymmetric", fold=1, snr=1.0, noise="white", name=None):
        rng = np.random.default_rng(3)
        self.name, self.particle, self.noise, self.snr = name or f"{particle}-{noise}-{snr:g}", particle, noise, snr
        self.symmetry_fold = fold
        self.angle_deg, self.shift_px = rng.uniform(0, 360, N), rng.uniform(-5, 5, (N, 2))

    def __len__(self):
        return N

    def truth(self):
        return self.angle_deg, self.shift_px


def pairs(stack, off_deg, estimator="corrected", seed=0, stage=None):
    relative = stack.angle_deg[:-1] - stack.angle_deg[1:] + off_deg
    return Prediction(estimator, seed, PAIRWISE, stage, stack, {"pair_deg": relative % 180})


def jointly(stack, off_deg, estimator="corrected", seed=0, stage=None):
    values = {"angle_deg": (stack.angle_deg + off_deg) % 360, "shift_px": stack.shift_px}
    return Prediction(estimator, seed, JOINT, stage, stack, values)


def scatter(scale):
    return scale * np.random.default_rng(0).standard_normal(N)


def rows_of(predictions):
    return pd.DataFrame(
        evaluation.error_rows(
            [item for prediction in predictions for item in evaluation.errors_of(prediction)], SETTINGS
        )
    )


def value(rows, metric, condition, statistic="mean"):
    chosen = rows[(rows["metric"] == metric) & (rows["condition"] == condition) & (rows["statistic"] == statistic)]
    assert len(chosen) == 1, condition
    return chosen.iloc[0]


def test_one_offset_of_the_stack_is_no_error_but_one_of_the_pairs_is():
    stack = Known()
    errors = {item.metric: item.values for item in evaluation.errors_of(jointly(stack, 77.0))}
    assert set(errors) == {MOD180, WHOLE, SHIFT}
    assert errors[WHOLE].max() < 1e-6 and errors[MOD180].max() < 1e-6
    honest, recipe = evaluation.errors_of(pairs(stack, 7.0))
    assert honest.values == pytest.approx(np.full(N - 1, 7.0))
    # The published evaluation takes the offset from the truth
    assert recipe.metric == "rotation_error_deg_recipe"
    assert recipe.values.min() < 1e-6 < honest.values.min()


@pytest.mark.parametrize(("fold", "turn_deg", "spectral_deg"), [(2, 180.0, 180.0), (7, 360 / 7, 180 / 7)])
def test_a_turn_of_the_symmetry_is_no_error(fold, turn_deg, spectral_deg):
    stack = Known(fold=fold)
    rotated = jointly(stack, np.where(np.arange(N) % 2, turn_deg, 0.0))
    errors = {item.metric: item for item in evaluation.errors_of(rotated)}
    assert errors[WHOLE].values.max() < 1e-6
    assert errors[MOD180].period_deg == pytest.approx(spectral_deg)
    unsymmetric = {
        item.metric: item for item in evaluation.errors_of(jointly(Known(), np.where(np.arange(N) % 2, 51.4, 0)))
    }
    assert unsymmetric[WHOLE].values.mean() > 20


def test_the_mean_over_particles_holds_those_with_the_longest_period():
    side, top, asymmetric = Known("side", 2), Known("top", 7), Known()
    rows = rows_of([pairs(side, 2.0), pairs(top, 9.0), pairs(asymmetric, 4.0)])
    over_all = value(rows, MOD180, "alignment=pairwise;noise=white;particle=all;snr=1")
    assert over_all["value"] == pytest.approx(3.0)
    assert over_all["n"] == 2 and np.isnan(over_all["low"])
    by_particle = over_all["sources"].set_index("source")["value"]
    assert by_particle.to_dict() == pytest.approx({"side": 2.0, "asymmetric": 4.0})
    of_top = value(rows, MOD180, "alignment=pairwise;noise=white;particle=top;snr=1;symmetry=7")
    assert (of_top["value"], of_top["n"]) == (pytest.approx(9.0), N - 1)


def test_rows_of_the_last_alignment_leave_it_out_and_the_ratio_compares_both():
    stack = Known()
    rows = rows_of(
        [
            pairs(stack, scatter(8.0)[:-1]),
            jointly(stack, scatter(2.0)),
            jointly(stack, scatter(6.0), stage="pretrain"),
            pairs(stack, 5.0, "polar_pairwise", None),
        ]
    )
    joint = value(rows[rows["estimator"] == "corrected"], MOD180, "alignment=joint;noise=white;particle=all;snr=1")
    last = value(rows[rows["estimator"] == "corrected"], MOD180, "noise=white;particle=all;snr=1")
    assert joint["value"] == last["value"]
    of_pairs = value(
        rows[rows["estimator"] == "corrected"], MOD180, "alignment=pairwise;noise=white;particle=all;snr=1"
    )
    ratio = value(rows, RATIO, "noise=white;particle=all;snr=1", "value")
    assert ratio["value"] == pytest.approx(joint["value"] / of_pairs["value"])
    assert ratio["sources"]["weight"].tolist() == pytest.approx([of_pairs["value"]])
    staged = value(rows, MOD180, "alignment=joint;noise=white;particle=all;snr=1;stage=pretrain")
    assert staged["value"] > 2 * joint["value"]
    baseline = value(rows[rows["estimator"] == "polar_pairwise"], MOD180, "noise=white;particle=all;snr=1")
    assert baseline["value"] == pytest.approx(5.0)


def test_the_rows_make_a_valid_table_with_one_headline_for_each_number(tmp_path):
    stacks = [Known(snr=1.0), Known(snr=0.5), Known(noise="coloured"), Known("side", 2)]
    predictions = [prediction for stack in stacks for seed in (0, 1) for prediction in (
        pairs(stack, scatter(3)[:-1], seed=seed), jointly(stack, scatter(1), seed=seed)
    )]  # fmt: skip
    rows = evaluation.error_rows(
        [item for prediction in predictions for item in evaluation.errors_of(prediction)], SETTINGS
    )
    write_metrics(with_headline(rows, evaluation.headline(SETTINGS)), tmp_path / "metrics.csv")


def test_pure_noise_joins_no_mean():
    noise = Known("noise", snr=0.0, name="noise")
    rows = rows_of([pairs(Known(), 1.0), pairs(noise, 45.0)])
    assert not rows["condition"].str.contains("snr=0;").any()
    assert value(rows, MOD180, "noise=white;particle=all;snr=1")["value"] == pytest.approx(1.0)


def test_a_headline_that_no_stack_has_is_refused():
    evaluation.check_headline([Known(snr=1.0)], SETTINGS)
    with pytest.raises(InputError, match=r"headline_snr is 1, but white noise has the ratios 0.5"):
        evaluation.check_headline([Known(snr=0.5), Known(noise="coloured")], SETTINGS)
