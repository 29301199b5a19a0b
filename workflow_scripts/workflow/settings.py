"""The base of every settings model."""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Typed settings: unknown keys are refused, values are not changed after the check.

    Every field of a subclass carries a description that names its meaning and its unit, and a range
    where one exists; the schema, the command lines and docs/configuration.md are generated from them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
