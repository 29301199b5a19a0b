"""The description of a method in words and pictures, overview.yaml: for the overview figure and the order of tables."""

import fnmatch
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator, Field

from workflow_scripts.study.conditions import check_condition
from workflow_scripts.study.tables import HEADLINE
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.settings import Settings, read_checked

Place = int | tuple[str, str]


def canonical(text: str) -> str:
    """A condition in canonical form, or `headline`; raises ValueError otherwise, which pydantic reports."""
    try:
        return text if text == HEADLINE else check_condition(text)
    except InputError as error:
        raise ValueError(str(error)) from error


class Picture(Settings):
    """An image among the arrays that `evaluate` leaves for the figures."""

    array: str = Field(description="name of the array; {name} stands for the first entry of another array")
    at: tuple[Place, ...] = Field(
        default=(), description="leading indices: a number, or [names, name] for the place of a name in an array"
    )
    root: bool = Field(default=False, description="show square roots, as of counts")
    colours: Literal["gray", "magma", "viridis", "RdBu_r"] = Field(default="gray", description="colour map")
    low: float | None = Field(default=None, description="value of the darkest colour; None takes the image's")
    high: float | None = Field(default=None, description="value of the brightest colour; None takes the image's")
    label: str = Field(description="what the image shows, and its unit")


class Score(Settings):
    """The metric by which estimators are ranked."""

    metric: str = Field(description="metric of the method's page")
    statistic: str = Field(default="value", description="statistic in metrics.csv")
    condition: Annotated[str, AfterValidator(canonical)] = Field(
        default=HEADLINE, description="condition in metrics.csv, or `headline`"
    )
    label: str = Field(description="the metric in words, with its unit")
    better: Literal["higher", "lower"] = Field(description="which values are better")
    given_more: tuple[str, ...] = Field(
        default=(),
        description="not ranked, since they are given more than the others: the truth, references, more images",
    )
    sources: str = Field(description="what n counts")
    at: str = Field(description="the condition in words; {key} stands for its value in the headline's condition")

    def described(self, condition: Mapping[str, str]) -> str:
        """The condition in words, with the values of this run; … for a value that the estimators do not share."""
        return self.at.format_map(defaultdict(lambda: "…", condition))


class OpenBenchmark(Settings):
    """What an estimator from outside the project gets, and what it has to predict."""

    given: tuple[str, ...] = Field(
        min_length=1, description="arrays of the test file, or columns of its list; * stands for any text"
    )
    predicted: dict[str, str] = Field(min_length=1, description="arrays of the predictions by name, with their meaning")
    conditions: str = Field(description="the conditions under which predictions are expected")
    ranked: str = Field(default="", description="the condition of the predictions that are ranked; empty for any")

    def selected(self, names: Sequence[str], path: Path) -> list[str]:
        """The given ones among the names of a file's arrays or columns.

        Raises:
            InputError: the file has nothing of what a pattern gives.
        """
        if idle := [pattern for pattern in self.given if not fnmatch.filter(names, pattern)]:
            raise InputError(f"{path} holds no {', '.join(idle)}, which open_benchmark.given of overview.yaml names")
        return [name for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in self.given)]


class Summary(Settings):
    """A method, for readers who do not know it."""

    title: str = Field(description="from what to what, in a few words")
    question: str = Field(description="the question that the method answers")
    data: str = Field(description="where training and test data come from, and how they are split")
    published: str = Field(description="the recipe, and what is wrong with it")
    corrected: str = Field(description="what was changed")
    baselines: str = Field(description="the other estimators")
    score: Score = Field(description="the metric by which estimators are ranked")
    open_benchmark: OpenBenchmark | None = Field(default=None, description="the test set for estimators of others")
    cost_score: Score | None = Field(
        default=None, description="the metric beside the cost of predictions, if more estimators have it than the score"
    )
    examples: str = Field(description="file of arrays beside metrics.csv")
    goes_in: Picture = Field(description="the input of the method")
    comes_out: Picture = Field(description="the prediction of the corrected arm")
    truth: Picture = Field(description="the truth")
    pixel: Picture | None = Field(default=None, description="side of a pixel of the prediction; its label is the unit")
    input_pixel: Picture | None = Field(default=None, description="side of a pixel of the input")


def read_summary(path: Path) -> Summary:
    """The overview.yaml of one method; raises InputError naming the key that is wrong."""
    return read_checked(path, Summary)


def pick(arrays: dict[str, np.ndarray], picture: Picture, path: Path) -> tuple[np.ndarray, list[str]]:
    """The image, and the names that selected it; a missing name is replaced by the published arm, else the last name.

    Raises:
        InputError: an array is missing or has too few dimensions.
    """
    try:
        firsts = {name: np.ravel(array)[0] for name, array in arrays.items() if array.dtype.kind == "U" and array.size}
        image, names = arrays[picture.array.format(**firsts)], []
        for place in picture.at:
            if not isinstance(place, int):
                present = arrays[place[0]].tolist()
                names.append(next((name for name in (place[1], "published") if name in present), present[-1]))
                place = present.index(names[-1])
            image = image[place]
    except (KeyError, IndexError) as error:
        raise InputError(f"{path} holds no {picture.array} at {list(picture.at)}: {error}") from error
    image = np.asarray(image, float)
    return (np.sqrt(np.maximum(image, 0)) if picture.root else image), names
