"""Settings models: strict types, readable error messages, and conversion to and from command-line flags."""

import json
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from workflow_scripts.workflow.errors import InputError

# The stages of every method, in the order in which they run.
STAGES = ("synthesize", "pretrain", "finetune", "predict", "evaluate", "plot")
Scale = Literal["smoke", "laptop", "workstation", "gpu", "paper"]
Split = Literal["train", "test"]


class Settings(BaseModel):
    """Typed settings: unknown keys are refused, and checked values cannot be changed.

    Every field of a subclass carries a description that names its meaning and its unit, and a range
    where one exists; the schema, the command lines and docs/configuration.md are generated from them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


_MOST_VALUES, _DEEPEST = 100_000, 50
_MOST_SENTENCES, _LONGEST_VALUE = 20, 200
_LONGEST_NAME, _LONGEST_PATH = 255, 4000  # bytes, of a file's name and of its path

SettingsType = TypeVar("SettingsType", bound=Settings)


# Environment variable with the number of jobs that may share a GPU; not a flag, since no result depends on it.
JOBS_PER_GPU = "BEAMTIME_JOBS_PER_GPU"


class Device(Settings):
    """The device of a stage; part of every command line that may use a GPU."""

    gpus: int = Field(ge=0, description="GPUs of each training and prediction job; 0 runs on the CPU.")


class Compute(Device):
    """Device and precision of networks; part of every command line that trains or predicts."""

    precision: Literal["auto", "float32", "bfloat16"] = Field(
        description="Number format in networks: auto uses bfloat16 on a GPU that supports it, otherwise float32."
    )


class ScaleChoice(Settings):
    """The scale; part of every command line that processes results of all methods."""

    scale: Scale = Field(description="Scale of the study.")


class FileChoice(Settings):
    """The file that a job of the stage synthesize makes."""

    split: Split = Field(description="Which file: train or test.")
    shard: int = Field(ge=0, description="Number of the file within the split, from 0.")


class EstimatorChoice(Compute):
    """The estimator, and its device; part of every command line that predicts."""

    estimator: str = Field(min_length=1, description="Name of the estimator in estimators.yaml.")
    module: str = Field(min_length=1, description="Module of the estimator in the folder estimators/ of the method.")
    training_seed: int = Field(ge=0, description="Seed of the training; 0 for an estimator that is not trained.")


def check(model: type[SettingsType], values: Mapping[str, Any], where: str = "") -> SettingsType:
    """Return `values` as an instance of `model`.

    `where` is the path of the section in the configuration, put before the keys in error messages.

    Raises:
        InputError: the message names all wrong keys, their values, and what is expected.
    """
    _check_plain(values, where)
    try:
        return model.model_validate_json(json.dumps(values), strict=True)
    # TypeError: a date, a set; ValueError: a list inside itself, an integer of thousands of digits.
    except (TypeError, ValueError) as error:
        if not isinstance(error, ValidationError):
            raise InputError(f"the settings {where or 'given'} hold a value that is not plain YAML: {error}") from None
        sentences = list(_sentences(error, where, model))
        left_out = len(sentences) - _MOST_SENTENCES
        more = f"; and {left_out} more mistakes" if left_out > 0 else ""
        raise InputError("; ".join(sentences[:_MOST_SENTENCES]) + more) from None


def read_yaml(path: Path) -> Any:
    """The content of a YAML file; raises InputError where it cannot be read."""
    try:
        return yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path} cannot be read: {' '.join(str(error).split())}") from error


def read_checked(path: Path, kind: Any) -> Any:
    """A YAML file as a value of the type `kind`, checked by pydantic; raises InputError with the first mistake."""
    try:
        return TypeAdapter(kind).validate_python(read_yaml(path))
    except ValidationError as error:
        raise InputError(f"{path}: {first_mistake(error)}") from error


def first_mistake(error: ValidationError) -> str:
    """The first mistake as the end of a sentence: key, reason, value."""
    mistake = error.errors()[0]
    key = ".".join(map(str, mistake["loc"])) or "the whole"
    return f"{key}: {mistake['msg']}, found {mistake['input']!r}."


def _check_plain(values: Any, where: str) -> None:
    """Refuse values that no setting can have, before they are converted.

    YAML's anchors can turn a few lines into millions of values, or into a list that contains itself. Strings may be
    file names, so strings that cannot be a file name are refused.
    """
    waiting, n_values = [(values, where, 0)], 0
    while waiting:
        value, path, depth = waiting.pop()
        n_values += 1
        if n_values > _MOST_VALUES or depth > _DEEPEST:
            raise InputError(
                f"the settings {where or 'given'} hold more than {_MOST_VALUES} values, or lists inside of lists more"
                f" than {_DEEPEST} deep; remove the anchor (&) that repeats them"
            )
        if isinstance(value, Mapping):
            for key, inside in value.items():
                waiting.append((inside, f"{path}.{_key(key)}" if path else _key(key), depth + 1))
        elif isinstance(value, (list, tuple)):
            waiting += [(inside, f"{path}.{number}", depth + 1) for number, inside in enumerate(value)]
        elif isinstance(value, str) and (fault := _fault(value)):
            raise InputError(f"{path}: is {_quoted(value)}, {fault}")


def _fault(text: str) -> str | None:
    """Why a string cannot be the name of a file, or None if it can."""
    try:
        parts = text.encode().split(b"/")
    except UnicodeEncodeError:
        return "which holds half of a character; correct it"
    if text.startswith("-"):
        return "which begins like a flag; write ./ before it"
    if any(character < " " or character == "\x7f" for character in text):
        return "which holds a control character; take it out"
    if max(map(len, parts)) > _LONGEST_NAME or len(text.encode()) > _LONGEST_PATH:
        return f"longer than the {_LONGEST_NAME} bytes of a name or the {_LONGEST_PATH} of a path; shorten it"
    return None


def _key(key: Any) -> str:
    text = str(key)
    return text if len(text) <= _LONGEST_VALUE and text.isprintable() else _quoted(key)


def _quoted(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"


def _sentences(error: ValidationError, where: str, model: type[Settings]) -> Iterator[str]:
    mistakes = error.errors(include_url=False)
    for mistake in mistakes:
        inside = (other["loc"][: len(mistake["loc"])] for other in mistakes if other is not mistake)
        if mistake["loc"] and mistake["loc"] in inside:
            continue  # this section is wrong only because of a key in it, which is reported
        keys = [str(part) for part in (*([where] if where else []), *mistake["loc"])]
        path = ".".join(map(_key, keys))
        match mistake["type"]:
            case "extra_forbidden":
                alike = get_close_matches(keys[-1], _known_keys(model, mistake["loc"]), n=1)
                meant = f"; did you mean {alike[0]}?" if alike else ""
                yield f"{path}: there is no such key{meant} (docs/configuration.md lists them all)"
            case "missing":
                yield f"{path}: this key is missing"
            case "string_pattern_mismatch" if keys[-1] == "[key]":
                yield f"{path.removesuffix('.[key]')}: a name may hold letters, digits, - and _, nothing else"
            case "model_type":
                yield (
                    f"{path or 'the settings'}: is {_quoted(mistake['input'])}, but should be a section with keys of "
                    "its own; below apply come a method, a name of yours, and the keys (docs/own-data.md)"
                )
            case "value_error" if isinstance(mistake["input"], Mapping):  # of several keys, which the sentence names
                yield f"{path or 'the settings'}: {_expectation(mistake)}"
            case _:
                yield f"{path or 'the settings'}: is {_quoted(mistake['input'])}, but {_expectation(mistake)}"


def _known_keys(kind: Any, location: Sequence[int | str]) -> list[str]:
    """The valid keys of the section that contains the last key of the location."""
    for part in location[:-1]:
        kind = get_args(kind)[1] if get_origin(kind) is dict else kind.model_fields[part].annotation
        if get_origin(kind) is not dict:
            alternatives = (kind, *get_args(kind))
            kind = next((part for part in alternatives if isinstance(part, type) and issubclass(part, Settings)), None)
            if kind is None:
                return []
    return list(kind.model_fields) if isinstance(kind, type) else []


def _expectation(mistake: Mapping[str, Any]) -> str:
    text = mistake["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if mistake["type"] == "tuple_type" and isinstance(mistake["input"], (str, int, float)):
        return f"should be a list: [{_quoted(mistake['input'])}]"
    is_text = isinstance(mistake["input"], str) and mistake["type"] in ("float_type", "int_type")
    if is_text and _is_number(mistake["input"]):
        if isinstance(mistake["loc"][-1], int):  # in a list
            return f"{text}; --config reads the numbers of a list as text, so give it with --configfile"
        return f"{text}; it was read as text: YAML wants 1.0e-3, not 1e-3, and no quotes"
    return text


def flatten(settings: Settings, prefix: str = "", sections: bool = True) -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, value) of every setting, depth first; values are plain JSON.

    sections: whether the settings of nested sections are included.
    """
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, Settings):
            if not sections:
                continue
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", json.loads(json.dumps(value))


def flag(key: str) -> str:
    """The command-line flag of a dotted key: ``probe.semiangle_mrad`` → ``--probe.semiangle-mrad``."""
    return "--" + key.replace("_", "-")


def as_arguments(settings: Settings, prefix: str = "", sections: bool = True) -> list[str]:
    """The settings as a list of command-line words; `fields` and `parse_value` are the inverse.

    Args:
        settings: the settings.
        prefix: put before every key, such as ``microscope.`` if the settings are a section.
        sections: whether the settings of nested sections are included.
    """
    words = []
    for key, value in flatten(settings, prefix, sections):
        word = value if isinstance(value, str) else json.dumps(value)
        # A word that begins with - would be read as a flag, and Snakemake drops empty words.
        words += [f"{flag(key)}={word}"] if word[:1] in ("", "-") else [flag(key), word]
    return words


def fields(model: type[Settings], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, pydantic field) of every setting of a model, depth first."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Settings):
            yield from fields(field.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


def parse_value(field: Any, word: str) -> Any:
    """A command-line word as the JSON value of a field; it stays a string if the field accepts strings."""
    parts = list(_parts(field.annotation))
    takes_text = any(part is str or isinstance(part, str) for part in parts)
    if takes_text and word != "null" and not (float in parts and _is_number(word)):
        return word
    try:
        return json.loads(word)
    except json.JSONDecodeError:
        return word  # refused by the check of the model, with the name of the key


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _parts(annotation: Any) -> Iterator[Any]:
    """A type and its alternatives; the elements of a list are left out, since a list is written as JSON."""
    yield annotation
    if not isinstance(annotation, str) and get_origin(annotation) is not tuple:
        for part in get_args(annotation):
            yield from _parts(part)


def nest(values: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys back into nested dictionaries."""
    nested: dict[str, Any] = {}
    for key, value in values.items():
        *sections, name = key.split(".")
        section = nested
        for part in sections:
            section = section.setdefault(part, {})
        section[name] = value
    return nested
