"""The settings of the training loop; a method embeds them in its own and may extend them."""

from typing import Literal, Self

from pydantic import Field, model_validator

from workflow_scripts.workflow.settings import Settings


class TrainingSettings(Settings):
    """How one network is trained, whatever the method."""

    epochs: int = Field(ge=1, description="passes over the training samples")
    batch_size: int = Field(
        ge=1,
        description="samples in one step, over all GPUs together; the number of GPUs must divide it",
    )
    optimizer: Literal["adamw", "sgd"] = Field(
        default="adamw", description="adamw (decoupled weight decay) or sgd"
    )
    learning_rate: float = Field(gt=0, le=10, description="largest step size of the optimizer, no unit")
    weight_decay: float = Field(default=0.0, ge=0, le=1, description="weight decay of the optimizer, no unit")
    momentum: float = Field(default=0.0, ge=0, lt=1, description="momentum of sgd, no unit; 0 with adamw")
    schedule: Literal["constant", "cosine"] = Field(
        default="cosine", description="learning rate after the warm-up: constant, or a half cosine down to 0"
    )
    warmup_fraction: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="fraction of all steps over which the learning rate rises linearly, no unit",
    )
    gradient_clip_norm: float = Field(
        default=0.0, ge=0, description="largest Euclidean norm of the whole gradient, no unit; 0: not clipped"
    )
    checkpoint_interval_s: float = Field(
        default=60.0,
        ge=0,
        description="seconds between two checkpoints inside an epoch (each epoch's end has one too); "
        "0: one after every step",
    )

    @model_validator(mode="after")
    def _momentum_belongs_to_sgd(self) -> Self:
        if self.momentum > 0 and self.optimizer != "sgd":
            raise ValueError(
                f"momentum is {self.momentum} but {self.optimizer} has none: set it to 0 or use sgd"
            )
        return self
