# Shared by all rule files - the checked configuration, and functions that turn it into inputs and arguments.
import json
import sys
from pathlib import Path
from typing import get_args

import yaml
from snakemake.exceptions import WorkflowError

from workflow_scripts.workflow.closure import closure
from workflow_scripts.workflow.configuration import STAGES, Scale, checked
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.settings import as_arguments, flatten

try:
    STUDY = checked(config)
except InputError as error:
    raise WorkflowError(
        f"the settings (config.yaml, --configfile, --config): {error}"
    ) from None

# A file, since Snakemake shows the words before a command with every job that failed.
shell.prefix(
    "set -euo pipefail; trap 'bash workflow_scripts/workflow/killed.sh $?' EXIT; "
)

# Snakemake would say of a target of another scale that no rule makes it.
for word in sys.argv[1:]:
    scale = word.removeprefix("./").removeprefix("results/").split("/")[0]
    if (
        scale in get_args(Scale)
        and scale != STUDY.scale
        and word.removeprefix("./").startswith("results/")
    ):
        raise WorkflowError(
            f"{word} belongs to the scale {scale}, but this run is of the scale {STUDY.scale}: "
            f"add --config scale={scale}, or ask for results/{STUDY.scale}/…"
        )

    method = word.removesuffix("_apply")
    if method != word and hasattr(STUDY.apply, method):
        if not getattr(STUDY.apply, method):
            raise WorkflowError(
                f"{word}: the settings have no entry in apply.{method}; write one as in docs/own-data.md, and name its "
                "file with --configfile"
            )


wildcard_constraints:
    variant="published|corrected",
    seed=r"\d+",
    shard=r"\d+",


def section(method, stage):
    """The checked settings of one stage."""
    return getattr(getattr(STUDY, method), stage)


def settings(method, stage):
    """The settings of one stage as command-line words; quoted by :q in the shell line."""
    return as_arguments(section(method, stage))


def code(method, stage):
    """All project files that the stage script runs: a changed module reruns the jobs that import it."""
    return list(closure(f"workflow_scripts.{method}.{stage}"))


# Of any job, MB: Python with its libraries, a network and its batch; CUDA's libraries come on top.
LIBRARIES_MB = 1500
CUDA_MB = 3000


def memory(method, split, times, more_mb=0):
    """Memory in MB of a job that holds all files of a split; with each attempt it is more.

    Args:
        method: whose settings give the size of the files.
        split: train, test, or both; None: the job makes one file, of the split that the wildcard names.
        times: how often the data lie in memory, at least half as often again as was measured (docs/performance.md);
            0 where they stay in their files.
        more_mb: what else the job takes.
    """
    sizes = section(method, "synthesize")

    def asked(wildcards, attempt):
        if split is None:
            data_mb = sizes.file_mb(wildcards.split)
        else:
            files = {"train": sizes.train_shards, "test": 1}
            data_mb = sum(
                files[one] * sizes.file_mb(one)
                for one in files
                if split in (one, "both")
            )
        cuda_mb = CUDA_MB if STUDY.compute.gpus else 0
        return attempt * int(LIBRARIES_MB + cuda_mb + times * data_mb + more_mb)

    return asked


def minutes(large):
    """Run time of a rule: `large` at the scales for GPUs, a sixth of it, at least half an hour, at the others."""
    return large if STUDY.scale in ("gpu", "paper") else max(30, large // 6)


def of_all_methods(pattern):
    """The pattern filled in for every method of the study."""
    return expand(pattern, method=STUDY.methods)


def with_overview(methods):
    """The methods that describe themselves for the overview, in overview.yaml beside their code."""
    return [
        method
        for method in methods
        if Path(f"workflow_scripts/{method}/overview.yaml").is_file()
    ]


def described(methods):
    """The descriptions of these methods, where they have one."""
    return [
        f"workflow_scripts/{method}/overview.yaml" for method in with_overview(methods)
    ]


def overview_examples(method):
    """The arrays that a method's description shows; read as plain YAML, since every cluster job reads it again."""
    path = Path(f"workflow_scripts/{method}/overview.yaml")
    try:
        name = yaml.safe_load(path.read_text(encoding="utf-8"))["examples"]
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise WorkflowError(f"{path} names no file of examples: {error}") from None
    return f"<results>/{method}/evaluate/{name}"


def reference_metrics():
    """The metrics of the reference run of this scale that git keeps; none where there is no such run."""
    folder = Path(f"results/reference/{STUDY.scale}")
    return sorted(path.as_posix() for path in folder.glob("*/evaluate/metrics.csv"))


def listed(path):
    """An optional path of the configuration as a list of inputs."""
    return [path] if path else []


def flags(**files):
    """Optional inputs as command-line words: a flag and its files where there are any."""
    return [
        word for name, paths in files.items() if paths for word in [f"--{name}", *paths]
    ]


def present_settings():
    """The settings of every stage as JSON, as `verify` compares them with those that were recorded."""
    return json.dumps(
        {
            f"workflow_scripts.{method}.{stage}": dict(flatten(section(method, stage)))
            | (
                {"precision": STUDY.compute.precision}
                if stage in ("pretrain", "finetune", "predict")
                else {}
            )
            for method in STUDY.methods
            for stage in STAGES
        }
    )


def own_data(method, name):
    """The checked settings of one entry of `apply`."""
    entries = getattr(STUDY.apply, method)
    if name not in entries:
        raise WorkflowError(
            f"apply.{method} has no entry {name!r}; it has {', '.join(entries) or 'none: docs/own-data.md'}"
        )
    return entries[name]


def own_training(method, name):
    """The settings of the stage pretrain as words, with the doses of an entry of `apply`."""
    entry = own_data(method, name)
    doses = {"dose_min_e": entry.dose_min_e, "dose_max_e": entry.dose_max_e}
    return as_arguments(section(method, "pretrain").model_copy(update=doses))
