"""Generated files: reference and schema of the configuration, table of scales, first page of the report, conda
environment.

``python -m workflow_scripts.workflow.reference`` writes them; a test checks that they are up to date.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args

import pandas as pd
import yaml
from pydantic_core import PydanticUndefined
from snakemake.utils import update_config

from workflow_scripts.study.summaries import read_summary
from workflow_scripts.workflow.closure import PACKAGE, ROOT
from workflow_scripts.workflow.configuration import Scale, Study, appliable_methods, known_methods, schema, study_model
from workflow_scripts.workflow.settings import STAGES, fields

REPORT = "docs/report/study.rst"
_METHODS = ".. The methods, by `python -m workflow_scripts.workflow.reference` from overview.yaml beside each.\n"

PYTHON = "3.11"  # of the conda environment and the container: the oldest that the lock allows


def merged(scale: str) -> dict[str, Any]:
    """config.yaml with the overlay of a scale, merged as Snakemake merges them."""
    config, overlay = (
        yaml.safe_load((ROOT / name).read_text(encoding="utf-8")) for name in ("config.yaml", f"scales/{scale}.yaml")
    )
    update_config(config, overlay)
    return config


def documents() -> dict[str, str]:
    """The generated files: path relative to the root → text."""
    return {
        "docs/configuration.md": "\n".join(_reference()) + "\n",
        "docs/config.schema.json": schema(),
        "docs/scales.md": "\n".join(_sizes()) + "\n",
        REPORT: _with_methods((ROOT / REPORT).read_text(encoding="utf-8")),
        "envs/study.yaml": "\n".join(_conda_environment()) + "\n",
    }


def _reference() -> Iterator[str]:
    yield "# Configuration"
    yield ""
    yield "All keys of `config.yaml`, with their ranges and their values at the scale laptop. Overlays in `scales/`"
    yield "change some of them ([sizes](scales.md)); `--configfile my.yaml` and `--config key=value` override both."
    yield "The merged configuration is checked before the first job. This page is generated: `python -m"
    yield "workflow_scripts.workflow.reference`."
    yield ""
    yield "YAML reads `1e-3` as text: write `1.0e-3`."
    laptop = _flat("laptop")
    yield from _table("All methods", fields(Study), laptop)
    for method in known_methods():
        section, _ = get_args(study_model().model_fields[method].annotation)  # or None
        sections = section.model_fields
        shared = [(key, field) for key, field in sections.items() if key not in STAGES]
        yield from _table(method, shared, laptop, f"{method}.")
        for stage in STAGES:
            described = fields(sections[stage].annotation)
            yield from _table(f"{method}: {stage}", described, laptop, f"{method}.{stage}.")
    for method, model in appliable_methods().items():
        yield from _table(f"apply: {method}: your name", fields(model), {}, head="if left out")


def _flat(scale: str) -> dict[str, Any]:
    """The values of a scale by dotted key."""
    return pd.json_normalize(merged(scale)).astype(object).to_dict("records")[0]


def _table(
    title: str, described: Iterable[tuple[str, Any]], values: Mapping[str, Any], prefix: str = "", head: str = "laptop"
) -> Iterator[str]:
    """A table of keys with their values, or defaults if they are not in `values`, whose keys begin with `prefix`."""
    yield from ("", f"## {title}", "")
    described = list(described)
    if not described:
        yield "This stage has no settings."
        return
    yield from (f"| key | {head} | range | meaning |", "|---|---|---|---|")
    for key, field in described:
        value = values.get(f"{prefix}{key}", field.default)
        text = "must be given" if value is PydanticUndefined else f"`{_text(value)}`"
        # In Markdown <…> would be a tag.
        meaning = field.description.replace("<", "&lt;")
        yield f"| `{key}` | {text} | {_range(field)} | {meaning} |"


def _text(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=10**6).strip().removesuffix("...").strip()


def _range(field: Any) -> str:
    signs = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
    bounds = [
        f"{sign} {getattr(rule, name)}"
        for rule in field.metadata
        for name, sign in signs.items()
        if hasattr(rule, name)
    ]
    choices = [f"`{choice}`" for choice in get_args(field.annotation) if isinstance(choice, str)]
    return ", ".join(bounds) or " or ".join(choices) or "–"


def _sizes() -> Iterator[str]:
    scales = get_args(Scale)
    flat = {scale: _flat(scale) for scale in scales}
    keys = [key for key in flat["laptop"] if len({repr(flat[scale].get(key)) for scale in scales}) > 1]
    yield "# The five sizes"
    yield ""
    yield "A scale is an overlay of `config.yaml` and nothing else: the rules and how they hang together are the same."
    yield "`smoke` is for tests, `laptop` the default (2 cores, no GPU), `workstation` has larger test sets for a few"
    yield "hours without a GPU, `gpu` is for one large GPU, and `paper` has the published sizes. The last three have"
    yield "not been run yet. Only these keys differ. This page is generated."
    yield ""
    yield "| key | " + " | ".join(scales) + " |"
    yield "|---" * (len(scales) + 1) + "|"
    for key in keys:
        yield f"| `{key}` | " + " | ".join(f"`{_text(flat[scale][key])}`" for scale in scales) + " |"


def _conda_environment() -> Iterator[str]:
    yield "# The environment of every rule, for `--software-deployment-method conda`. Generated from lock.txt:"
    yield "# Snakemake copies this file alone, so it repeats the pins. Untried: no channel was at hand."
    yield "name: beamtime"
    yield "channels:"
    yield "  - conda-forge"
    yield "dependencies:"
    yield f"  - python={PYTHON}"
    yield "  - pip"
    yield "  - pip:"
    for line in (ROOT / "envs" / "lock.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            yield f"      - {line}"


def _with_methods(page: str) -> str:
    """The first page of the report, followed by every method in words."""
    parts = [page.split(_METHODS)[0], _METHODS]
    for method in merged("laptop")["methods"]:
        path = ROOT / PACKAGE / method / "overview.yaml"
        if not path.is_file():
            continue
        summary = read_summary(path)
        parts.append(f"\n**{method}: {summary.title}.** {summary.question}\n\n")
        parts += [
            f"- *{name}*: {' '.join(getattr(summary, name).split())}\n"
            for name in ("data", "published", "corrected", "baselines")
        ]
        parts.append(f"- *headline*: {summary.score.label}; {summary.score.better} is better\n")
    return "".join(parts)


def main() -> None:
    """Write the generated files."""
    for name, text in documents().items():
        (ROOT / name).write_text(text, encoding="utf-8")
        print(name)


if __name__ == "__main__":
    main()
