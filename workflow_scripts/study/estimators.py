"""The registry of estimators: estimators.yaml beside the code of a method, in the order of its tables and figures.

Rules, configuration, tables and figures read it. The only stage that reads it is `plot`, so that a new entry reruns no
other estimator.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import Field

from workflow_scripts.workflow.settings import Settings, read_checked

FILE = "estimators.yaml"
# The palette of Okabe and Ito for colour-blind readers (https://jfly.uni-koeln.de/color), but a lighter grey: theirs is
# too close to purple.
COLOURS = {
    "blue": "#0072B2",
    "vermillion": "#D55E00",
    "green": "#009E73",
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "purple": "#CC79A7",
    "black": "#000000",
    "grey": "#BBBBBB",
    "yellow": "#F0E442",
}


class Estimator(Settings):
    """One estimator of a method."""

    kind: Literal["trivial", "classical", "published", "learned"] = Field(
        description="trivial (zeros, chance, a mean), classical, published (the recipe with its faults) or learned"
    )
    label: str = Field(min_length=1, description="what it is, in a few words")
    role: Literal["arm", "baseline", "ablation", "computed"] = Field(
        default="baseline",
        description="arm (asked for by `variants`), baseline (always runs unless left out), ablation (asked for by"
        " `evaluate.ablations`), or computed by the stage evaluate, without a prediction of its own",
    )
    module: str = Field(
        default="", description="its module in the method's estimators/; by default network if trained, else its name"
    )
    settings: str = Field(default="", description="its section of `predict`; by default the one named like its module")
    needs: tuple[str, ...] = Field(
        default=(),
        description="inputs of the stage predict beside the test data: shards, pretrained, finetuned; by default the"
        " last two if trained, else none",
    )
    pretrained_as: str = Field(default="", description="the arm whose pretraining it shares; by default its own")
    gpu: bool = Field(default=False, description="whether it uses a GPU where there is one; a trained one does")
    colour: Literal[*COLOURS] = Field(default="grey", description="colour in every figure")
    marker: str = Field(default="o", min_length=1, max_length=1, description="matplotlib's marker in every figure")
    note: str = Field(default="", description="what it needs that the others do not have, for the figures")

    @property
    def is_trained(self) -> bool:
        """Whether it has a training, once for each seed."""
        return self.kind in ("published", "learned")

    @property
    def looks(self) -> dict[str, str]:
        """Colour and marker: keywords of `matplotlib.axes.Axes.plot`."""
        return {"color": COLOURS[self.colour], "marker": self.marker}


class Registry(dict[str, Estimator]):
    """The estimators of one method by name, in the order of estimators.yaml."""

    def __missing__(self, name: str) -> Estimator:
        """The defaults of the figures for an estimator that is not listed."""
        return Estimator(kind="classical", label=name)

    def named(self, *roles: str) -> list[str]:
        """Names of the estimators with one of these roles."""
        return [name for name, entry in self.items() if entry.role in roles]

    def trained(self) -> list[str]:
        """Names of the estimators that are trained."""
        return [name for name, entry in self.items() if entry.is_trained]

    def predicting(self) -> list[str]:
        """Names of the estimators that the stage predict runs."""
        return [name for name, entry in self.items() if entry.role != "computed"]

    def ordered(self, names: Iterable[str]) -> list[str]:
        """Each name once, in the order of the registry; names that it lacks follow in alphabetical order."""
        names = set(names)
        return [*(name for name in self if name in names), *sorted(names - self.keys())]

    def places(self) -> dict[str, int]:
        """The position of every name in the registry."""
        return {name: place for place, name in enumerate(self)}


def read_registry(path: Path) -> Registry:
    """Read estimators.yaml.

    Raises:
        InputError: naming the estimator and the key that is wrong.
    """
    entries = read_checked(path, dict[str, Estimator])
    return Registry({name: _with_defaults(name, entry) for name, entry in entries.items()})


def _with_defaults(name: str, entry: Estimator) -> Estimator:
    trained = entry.is_trained
    module = entry.module or ("network" if trained else name)
    return entry.model_copy(
        update={
            "module": module,
            "settings": entry.settings or module,
            "needs": entry.needs or (("pretrained", "finetuned") if trained else ()),
            "pretrained_as": entry.pretrained_as or name,
            "gpu": entry.gpu or trained,
        }
    )
