"""The whole configuration as one typed model; imported only by rules/common.smk and by the documentation.

A stage script imports the settings of its own method and nothing from here, so that a change in the settings of one
method does not rerun the others.
"""

import importlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, StringConstraints, create_model

from workflow_scripts.study.estimators import FILE, Registry, read_registry
from workflow_scripts.workflow.closure import PACKAGE, ROOT
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.settings import STAGES, Compute, Scale, Settings, check, flatten

Variant = Literal["published", "corrected"]
# Name of an entry in `apply`, which becomes the name of a folder and the value of a wildcard.
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]*$", max_length=100)]


class ComputeSection(Compute):
    """The section `compute`: the devices used by the stages, and what Snakemake reserves for them."""

    threads: int = Field(ge=1, description="CPU threads of each training and prediction job.")
    jobs_per_gpu: int = Field(
        ge=1, le=64, description="Jobs of one user that may share a GPU, if no scheduler assigns GPUs."
    )


class Study(Settings):
    """The keys that all methods share."""

    scale: Scale = Field(
        description="Size of the study: smoke, laptop, workstation, gpu, paper; names the overlay and results/<scale>."
    )
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        min_length=1, description="Seeds of training; every trained estimator is trained once for each."
    )
    methods: tuple[str, ...] = Field(
        min_length=1, description="Methods to run; each has a folder, a rule file and a section here."
    )
    variants: tuple[Variant, ...] = Field(
        min_length=1, description="Arms of every method: published (the recipe with its faults) and corrected (ours)."
    )
    compute: ComputeSection = Field(description="Devices and threads of the jobs.")


_LEAVE_OUT = (
    tuple[str, ...],
    Field(default=(), description="Baselines of the method's estimators.yaml that are not run."),
)


def known_methods() -> list[str]:
    """Names of the folders that hold a method: those with a settings.py and the rule file of their name."""
    return sorted(
        path.parent.name
        for path in (ROOT / PACKAGE).glob("*/settings.py")
        if (ROOT / "rules" / f"{path.parent.name}.smk").is_file()
    )


@cache
def registry(method: str) -> Registry:
    """The estimators of a method; raises InputError where its estimators.yaml is wrong."""
    return read_registry(ROOT / PACKAGE / method / FILE)


def study_model() -> type[Settings]:
    """The model of the whole configuration: the shared keys, `apply`, and a section for every known method."""
    sections: dict[str, Any] = {"apply": (_apply_model(), Field(description="The user's data, by method and name."))}
    for method in known_methods():
        module = importlib.import_module(f"{PACKAGE}.{method}.settings")
        stages = {
            stage: (getattr(module, stage.capitalize()), Field(description=f"Settings of the stage {stage}."))
            for stage in STAGES
        }
        section = create_model(method, __base__=Settings, leave_out=_LEAVE_OUT, **stages)
        sections[method] = (section | None, Field(default=None, description=f"Settings of the method {method}."))
    return create_model("Configuration", __base__=Study, **sections)


def appliable_methods() -> dict[str, type[Settings]]:
    """The methods that can be applied to the user's data, with the settings model of one entry."""
    modules = {method: importlib.import_module(f"{PACKAGE}.{method}.settings") for method in known_methods()}
    return {method: module.Apply for method, module in modules.items() if hasattr(module, "Apply")}


def _apply_model() -> type[Settings]:
    entries = {
        method: (dict[Name, model], Field(default={}, description=f"Scans or images for {method}, by a name of yours."))
        for method, model in appliable_methods().items()
    }
    return create_model("Apply", __base__=Settings, **entries)


def scale_file(config: Mapping[str, Any]) -> str:
    """The file with the settings of the configured scale.

    Raises:
        InputError: there is no such scale.
    """
    scale, known = config.get("scale"), get_args(Scale)
    if scale not in known:
        raise InputError(f"scale: is {scale!r}, but must be one of {', '.join(known)}")
    return f"scales/{scale}.yaml"


# Keys that were renamed, with their new names.
_RENAMED = {
    "alignment.predict.batch_size": "alignment.predict.network.batch_size",
    "alignment.predict.rounds": "alignment.predict.network.rounds and alignment.predict.polar_joint.rounds",
    "diffractive_imaging.predict.batch_size": "diffractive_imaging.predict.network.batch_size",
    "potential.predict.batch_size": "potential.predict.network.batch_size",
    "potential.predict.ridge_kernel_px": "potential.predict.ridge.kernel_px",
    **{
        f"background.predict.{key}": f"background.predict.network.{key}"
        for key in ("batch_size", "steps", "samples", "curve_steps", "curve_tiles", "seed")
    },
    **{
        f"{method}.evaluate.baselines": f"{method}.leave_out, which lists the baselines that are not run"
        for method in ("alignment", "background", "diffractive_imaging", "matching", "potential")
    },
}


def _check_names(config: Mapping[str, Any]) -> None:
    """Refuse keys that were renamed; the message gives the new name."""
    for old, new in _RENAMED.items():
        section: Any = config
        *path, key = old.split(".")
        for part in path:
            section = section.get(part) if isinstance(section, Mapping) else None
        if isinstance(section, Mapping) and key in section:
            raise InputError(f"{old}: this key is now {new}")


def checked(config: Mapping[str, Any]) -> Settings:
    """The merged configuration as a typed model.

    Raises:
        InputError: naming every key that is wrong, its value, and what would be right.
    """
    try:
        _check_names(config)
        study = check(study_model(), config)
        _check_together(study)
    except InputError as error:
        raise InputError(f"the settings (config.yaml, --configfile, --config): {error}") from None
    return study


def _check_together(study: Settings) -> None:
    """Refuse keys that do not fit each other or the files."""
    for method in study.methods:
        if method not in known_methods():
            raise InputError(f"methods: there is no method {method!r}; there are {', '.join(known_methods())}")
        if getattr(study, method) is None:
            raise InputError(f"{method}: this section is missing, but methods names it")
        baselines = registry(method).named("baseline")
        for name in getattr(study, method).leave_out:
            if name not in baselines:
                raise InputError(f"{method}.leave_out: has {name!r}, but may hold {', '.join(baselines)}")
    for name in ("seeds", "methods", "variants"):
        values = getattr(study, name)
        if len(set(values)) < len(values):
            raise InputError(f"{name}: is {list(values)!r}, but each may be listed only once")
    for method in appliable_methods():
        for name, entry in getattr(study.apply, method).items():
            for key, path in entry.files().items():
                if not Path(path).is_file():
                    raise InputError(f"apply.{method}.{name}.{key}: there is no file {path}; {_remedy(path)}")
            entry.inputs(f"apply.{method}.{name}.")


def check_targets(words: Sequence[str], study: Settings) -> None:
    """Refuse targets on Snakemake's command line, with a better message than that no rule makes them.

    Raises:
        InputError: a target belongs to another scale, or needs user data but the settings have no entry.
    """
    for word in words:
        folder, _, path = word.removeprefix("./").partition("/")
        scale = path.split("/")[0]
        if folder == "results" and scale in get_args(Scale) and scale != study.scale:
            raise InputError(
                f"{word} belongs to the scale {scale}, but this run is of the scale {study.scale}: "
                f"add --config scale={scale}, or ask for results/{study.scale}/…"
            )
        method = word.removesuffix("_apply")
        if method != word and hasattr(study.apply, method) and not getattr(study.apply, method):
            raise InputError(
                f"{word}: the settings have no entry in apply.{method}; write one as in docs/own-data.md, and name its "
                "file with --configfile"
            )


def recorded_settings(study: Settings) -> dict[str, dict[str, Any]]:
    """The settings that provenance records, by module, and those of an estimator by ``module estimator``."""
    recorded: dict[str, dict[str, Any]] = {}
    for method in study.methods:
        for stage in STAGES:
            settings = getattr(getattr(study, method), stage)
            values = dict(flatten(settings, sections=stage != "predict"))
            if stage in ("pretrain", "finetune", "predict"):
                values["precision"] = study.compute.precision
            recorded[f"{PACKAGE}.{method}.{stage}"] = values
        for name, entry in registry(method).items():
            options = getattr(getattr(study, method).predict, entry.settings, None)
            values = dict(flatten(options, "options.")) if options else {}
            recorded[f"{PACKAGE}.{method}.predict {name}"] = values
    return recorded


def _remedy(path: str | Path) -> str:
    if str(path).startswith("~"):
        return "write the path in full, since ~ is not expanded"
    return "correct the path" if Path(path).is_absolute() else f"correct the path, which begins in {Path.cwd()}"


def schema() -> str:
    """The JSON schema of the configuration, as committed in docs/config.schema.json."""
    return json.dumps(study_model().model_json_schema(), indent=2, ensure_ascii=False) + "\n"
