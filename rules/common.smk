# The checked configuration, and the functions that turn it into inputs, outputs and parameters; every rule file uses them.
import os
import sys
from functools import cache
from pathlib import Path

from snakemake.exceptions import WorkflowError

from workflow_scripts.study.estimators import FILE as REGISTRY_FILE
from workflow_scripts.workflow.configuration import (
    check_targets,
    checked,
    recorded_settings,
    registry,
)
from workflow_scripts.workflow.digests import code_digest, file_digest
from workflow_scripts.workflow.errors import InputError
from workflow_scripts.workflow.failures import hidden_errors
from workflow_scripts.workflow.settings import JOBS_PER_GPU, Settings, as_arguments

try:
    STUDY = checked(config)
    REGISTRIES = {method: registry(method) for method in STUDY.methods}
    check_targets(sys.argv[1:], STUDY)
except InputError as error:
    raise WorkflowError(str(error)) from None

RESULTS = f"results/{STUDY.scale}"
os.environ[JOBS_PER_GPU] = str(STUDY.compute.jobs_per_gpu)
# Of any job, MB: Python with its libraries, a network and its batch; CUDA's libraries come on top.
LIBRARIES_MB = 1500
CUDA_MB = 3000
NO_METHOD = "$^"
TRAINED = ("weights.safetensors", "history.csv")
COMMAND = (
    "python -m {params.module} {params.settings:q} {params.more:q} {params.arguments:q}"
    " 2> {log:q}"
)

# The handler is in a file because Snakemake prints this prefix with every failed job.
shell.prefix(
    "set -euo pipefail; trap 'bash workflow_scripts/workflow/killed.sh $?' EXIT; "
)


onerror:
    for file in log:
        for sentence in hidden_errors(Path(file)):
            print(sentence, file=sys.stderr)


def alternatives(names):
    """A regular expression that matches these names and nothing else."""
    return "|".join(sorted(names)) or "$^"


wildcard_constraints:
    method=alternatives(STUDY.methods),
    split="train|test",
    variant=alternatives(
        {name for entries in REGISTRIES.values() for name in entries.trained()}
    ),
    estimator=alternatives(
        {name for entries in REGISTRIES.values() for name in entries.predicting()}
    ),
    name=r"[A-Za-z0-9_][A-Za-z0-9_-]*",
    seed=r"\d+",
    training_seed=r"\d+",
    shard=r"\d+",


# ---- parameters: constants or functions of the wildcards alone, since Snakemake's check for changed parameters leaves
# out functions that take inputs, outputs or resources


def section(method, stage):
    """The checked settings of one stage."""
    return getattr(getattr(STUDY, method), stage)


def options(**values):
    """Further settings as command-line arguments: a flag for each value, or for each setting of a section."""
    words = []
    for key, value in values.items():
        if isinstance(value, Settings):
            words += as_arguments(value, f"{key}.")
        else:
            words += [f"--{key.replace('_', '-')}", str(value)]
    return words


def precision(script):
    """The number format, for scripts that run a network."""
    if script in ("synthesize", "apply.check", "apply.assemble", "evaluate", "plot"):
        return []
    return options(precision=STUDY.compute.precision)


def tracked(script, data=()):
    """The parameters of a stage: its module, a digest of the code that it runs, and its settings as words.

    Args:
        script: the stage.
        data: names of data files beside the code that it reads.
    """

    def dotted(wildcards):
        return f"workflow_scripts.{wildcards.method}.{script}"

    def code(wildcards):
        beside = (f"workflow_scripts/{wildcards.method}/{name}" for name in data)
        return code_digest(dotted(wildcards), data=tuple(beside))

    def settings(wildcards):
        return as_arguments(section(wildcards.method, script)) + precision(script)

    return {"module": dotted, "code": code, "settings": settings}


def tracked_prediction():
    """The parameters of `predict`, with the code and the settings of this estimator and of no other."""

    def entry(wildcards):
        return REGISTRIES[wildcards.method][wildcards.estimator]

    def code(wildcards):
        package = f"workflow_scripts.{wildcards.method}"
        return code_digest(
            f"{package}.predict", f"{package}.estimators.{entry(wildcards).module}"
        )

    def settings(wildcards):
        predict = section(wildcards.method, "predict")
        of_estimator = getattr(predict, entry(wildcards).settings, None)
        return [
            *as_arguments(predict, sections=False),
            *precision("predict"),
            *options(module=entry(wildcards).module),
            *(options(options=of_estimator) if of_estimator else []),
        ]

    return tracked("predict") | {"code": code, "settings": settings}


def tracked_apply(script, prefix=""):
    """The parameters of a script for the user's files: its settings are those of the entry of `apply`.

    Args:
        script: the script of the method.
        prefix: of the flags for the settings of the entry.
    """

    def settings(wildcards):
        name = options(name=wildcards.name) if script == "apply.apply" else []
        entry = as_arguments(entry_of(wildcards.method, wildcards.name), prefix)
        return name + entry + precision(script)

    def files(wildcards):
        return file_digest(sum(user_files(wildcards).values(), []))

    return tracked(script) | {"settings": settings, "files": files}


def tracked_study(script, data=(), **settings):
    """The parameters of a script that works on the results of all methods.

    Args:
        script: in workflow_scripts/study.
        data: paths of data files of the project that it reads.
        settings: of the script.
    """
    dotted = f"workflow_scripts.study.{script}"
    return {
        "module": dotted,
        "code": code_digest(dotted, data=tuple(data)),
        "settings": options(scale=STUDY.scale, **settings),
    }


def name_and_precision(wildcards):
    """The settings of a script `apply` that needs none of the entry's, because `check` has applied them."""
    return options(name=wildcards.name) + precision("apply.apply")


def training_settings(*keys):
    """A parameter: the settings of `pretrain`, with these keys taken from an entry of `apply`."""

    def settings(wildcards):
        entry = entry_of(wildcards.method, wildcards.name)
        update = {key: getattr(entry, key) for key in keys}
        pretrain = section(wildcards.method, "pretrain").model_copy(update=update)
        return as_arguments(pretrain) + precision("pretrain")

    return settings


def entry_of(method, name):
    """The checked settings of one entry of `apply`."""
    entries = getattr(STUDY.apply, method)
    if name not in entries:
        raise WorkflowError(
            f"apply.{method} has no entry {name!r}; it has {', '.join(entries) or 'none: docs/own-data.md'}"
        )
    return entries[name]


@cache
def files_of_entry(method, name):
    """The files that one entry of `apply` names, by input."""
    return entry_of(method, name).inputs()


# ---- the rest of the command line: not tracked, since inputs and outputs are


def arguments(wildcards, input, output, resources):
    """Wildcards, GPUs, inputs and outputs of a job as command-line arguments: each is the flag of its name."""
    values = {
        key: [value]
        for key, value in wildcards.items()
        if key not in ("method", "name")
    }
    if "gpu" in resources.keys():
        values["gpus"] = [resources.gpu]
    for files in (input, output):
        for key, paths in files.items():
            values[key] = [paths] if isinstance(paths, str) else list(paths)
    return [
        word
        for key, words in values.items()
        if words
        for word in (f"--{key.replace('_', '-')}", *map(str, words))
    ]


# ---- inputs


def shards(method, folder="synthesize/train", suffix=".npz"):
    """The training files of a method, or those in another folder of it."""
    return [
        f"{RESULTS}/{method}/{folder}/shard{shard}{suffix}"
        for shard in range(section(method, "synthesize").train_shards)
    ]


def weights(method, stage, variant, seed):
    """The weights of one arm and seed after a stage."""
    return f"{RESULTS}/{method}/{stage}/{variant}/seed{seed}/weights.safetensors"


def recommended_weights(method, stage):
    """The weights that are applied to the user's files."""
    return weights(method, stage, "corrected", STUDY.seeds[0])


def pretrained_weights(method, arm, seed):
    """The pretrained weights of an arm, or those of the arm whose pretraining it shares."""
    return weights(method, "pretrain", REGISTRIES[method][arm].pretrained_as, seed)


def pretrained(wildcards):
    """The pretrained weights that an arm is finetuned from."""
    return pretrained_weights(wildcards.method, wildcards.variant, wildcards.seed)


def needed(wildcards):
    """What an estimator needs beside the test data, for `unpack`."""
    method, name, seed = (
        wildcards.method,
        wildcards.estimator,
        wildcards.training_seed,
    )
    available = {
        "pretrained": pretrained_weights(method, name, seed),
        "finetuned": weights(method, "finetune", name, seed),
        "shards": shards(method),
    }
    return {key: available[key] for key in REGISTRIES[method][name].needs}


def predictions(method, names=None):
    """The predictions of these estimators, trained ones for each seed; by default of baselines and arms."""
    entries = REGISTRIES[method]
    if names is None:
        left_out = getattr(STUDY, method).leave_out
        baselines = [name for name in entries.named("baseline") if name not in left_out]
        trained = [name for name in baselines if entries[name].is_trained]
        others = [name for name in baselines if not entries[name].is_trained]
        names = [*others, *STUDY.variants, *trained]
    return [
        f"{RESULTS}/{method}/predict/{name}/seed{seed}/predictions.npz"
        for name in names
        for seed in (STUDY.seeds if entries[name].is_trained else [0])
    ]


def ablated(method):
    """The predictions of the arms of the ablation; empty for a method without one."""
    settings = section(method, "evaluate")
    if not hasattr(settings, "ablation_arms"):
        return []
    return predictions(method, settings.ablation_arms(STUDY.variants))


def evaluated(method, *more):
    """The inputs of `plot`: metrics, examples, these further files of `evaluate`, and the registry."""
    names = ("metrics.csv", "examples.npz", *more)
    folder = f"{RESULTS}/{method}/evaluate"
    files = {name.split(".")[0]: f"{folder}/{name}" for name in names}
    return files | {"estimators": beside_code(REGISTRY_FILE, [method])}


def user_files(wildcards):
    """The files that an entry of `apply` names, for `unpack`."""
    return files_of_entry(wildcards.method, wildcards.name)


def of_all_methods(pattern):
    """The pattern filled in for every method of the study."""
    return expand(pattern, method=STUDY.methods)


def beside_code(name, methods=None):
    """The data files of this name beside the code of the methods, where they have one."""
    paths = [f"workflow_scripts/{method}/{name}" for method in methods or STUDY.methods]
    return [path for path in paths if Path(path).is_file()]


def test_files(method):
    """The files of the test set that every estimator of a method may read."""
    outputs = getattr(rules, f"{method}_synthesize").output
    names = ("stack", "star") if "stack" in outputs.keys() else ("arrays",)
    return expand(
        [getattr(outputs, name) for name in names], method=method, split="test", shard=0
    )


def has_open_benchmark(method):
    """Whether a method describes in overview.yaml what others may predict from its test set."""
    return any(
        "\nopen_benchmark:" in Path(path).read_text(encoding="utf-8")
        for path in beside_code("overview.yaml", [method])
    )


def overview_inputs(*files):
    """The inputs of a figure of all methods that describe themselves in overview.yaml, with these files of `evaluate`."""
    overviews = beside_code("overview.yaml")
    methods = [Path(path).parent.name for path in overviews]
    return {
        "overviews": overviews,
        "estimators": beside_code(REGISTRY_FILE, methods),
        **{
            name.split(".")[0]: [
                f"{RESULTS}/{method}/evaluate/{name}" for method in methods
            ]
            for name in files
        },
    }


def reference_metrics():
    """The metrics of the reference run of this scale that git keeps; none where there is no such run."""
    folder = Path(f"results/reference/{STUDY.scale}")
    return sorted(path.as_posix() for path in folder.glob("*/evaluate/metrics.csv"))


# ---- outputs and resources


def artifacts(folder, *names, **named):
    """Outputs in a folder with their provenance; those without a name take that of the file.

    folder: below results/<scale>/<method>.
    """
    named = {name.split(".")[0]: name for name in names} | named
    named["provenance"] = "provenance.json"
    return {key: f"<results>/{{method}}/{folder}/{name}" for key, name in named.items()}


def shard_artifacts(stem, **suffixes):
    """Outputs that share the beginning of their names, with their provenance.

    stem: below results/<scale>/<method>.
    """
    suffixes = suffixes | {"provenance": ".provenance.json"}
    return {
        key: f"<results>/{{method}}/{stem}{suffix}" for key, suffix in suffixes.items()
    }


def image_artifacts(name):
    """Outputs of one image for the user: HDF5, TIFF, preview and quality."""
    files = {"h5": f"{name}.h5", "tiff": f"{name}.tif", "png": "preview.png"}
    return artifacts("apply/{name}", "quality.json", **files)


def figure(method, title, second=""):
    """Outputs of a method's figure in all formats, or of its second figure if that is named."""
    name = f"{method}_{second}" if second else method
    stem = f"<results>/figures/{{method}}{name.removeprefix(method)}"
    svg = report(
        f"{stem}.svg",
        caption=f"../docs/report/{name}.rst",
        category="2 Results",
        labels={"figure": f"{method}: {title}"},
    )
    files = {"svg": svg} | {kind: f"{stem}.{kind}" for kind in ("pdf", "png", "csv")}
    if second:
        return {f"{second}_{kind}": file for kind, file in files.items()}
    return files | {"provenance": f"{stem}.provenance.json"}


def table(name, **caption):
    """Outputs of one table in its formats; the page is in the report under this caption."""
    stem = f"<results>/tables/{name}"
    formats = {kind: f"{stem}.{kind}" for kind in ("csv", "md", "tex")}
    page = report(f"{stem}.html", **caption)
    return formats | {"html": page, "provenance": f"{stem}.provenance.json"}


def figures_of(method):
    """The figures of a method, in all formats."""
    return expand(getattr(rules, f"{method}_plot").output, method=method)


def minutes(large):
    """Run time of a job, minutes: `large` at `gpu` and `paper`; a sixth of it, at least half an hour, at other scales."""
    return large if STUDY.scale in ("gpu", "paper") else max(30, large // 6)


def job_resources(method, split, times, more_mb=0, runtime=60, gpu=True):
    """Resources of a job that holds all files of a split; with each attempt it gets more memory.

    Args:
        method: whose settings give the size of the files.
        split: train, test, or both; None: the job makes one file, of the split that the wildcard names.
        times: copies of the data in memory, at least 1.5 times as many as measured (docs/performance.md); 0 if the
            data stay in their files.
        more_mb: further memory of the job, MB.
        runtime: minutes at the scales for GPUs.
        gpu: whether the job runs on a GPU where there is one, or a function of the wildcards that gives their number.
    """
    sizes = section(method, "synthesize")

    def memory_mb(wildcards, attempt):
        if split is None:
            data_mb = sizes.file_mb(wildcards.get("split", "train"))
        else:
            files = {"train": sizes.train_shards, "test": 1}
            data_mb = sum(
                files[kind] * sizes.file_mb(kind)
                for kind in files
                if split in (kind, "both")
            )
        cuda_mb = CUDA_MB if STUDY.compute.gpus else 0
        return attempt * int(LIBRARIES_MB + cuda_mb + times * data_mb + more_mb)

    return {
        "mem_mb": memory_mb,
        "runtime": minutes(runtime),
        **({"gpu": gpu if callable(gpu) else STUDY.compute.gpus} if gpu else {}),
    }


def gpus_of_estimator(wildcards):
    """The GPUs of a prediction: none for an estimator that does not use one."""
    entry = REGISTRIES[wildcards.method][wildcards.estimator]
    return STUDY.compute.gpus if entry.gpu else 0
