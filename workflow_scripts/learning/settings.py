"""The settings of the training loop; the settings of a training stage extend them."""

from typing import Literal, Self

from pydantic import Field, model_validator

from workflow_scripts.workflow.settings import Settings


class TrainingSettings(Settings):
    """How a network is trained, the same for all methods."""

    epochs: int = Field(ge=1, description="Passes over the training samples.")
    batch_size: int = Field(
        ge=1, description="Samples per step, over all GPUs together; a multiple of the number of GPUs."
    )
    optimizer: Literal["adamw", "sgd"] = Field(description="AdamW (decoupled weight decay) or SGD.")
    learning_rate: float = Field(gt=0, le=10, description="Largest step size of the optimizer.")
    weight_decay: float = Field(ge=0, le=1, description="Weight decay of the optimizer.")
    momentum: float = Field(ge=0, lt=1, description="Momentum of SGD; 0 with AdamW.")
    schedule: Literal["constant", "cosine"] = Field(
        description="Learning rate after the warm-up: constant, or half a cosine down to 0."
    )
    warmup_fraction: float = Field(
        ge=0, lt=1, description="Fraction of all steps over which the learning rate rises linearly."
    )
    gradient_clip_norm: float = Field(
        ge=0, description="Norm to which the whole gradient is clipped; 0 disables clipping."
    )
    checkpoint_interval_s: float = Field(
        ge=0,
        description="Seconds between checkpoints within an epoch (the end of an epoch always has one); 0: every step.",
    )

    @model_validator(mode="after")
    def _momentum_belongs_to_sgd(self) -> Self:
        if self.momentum > 0 and self.optimizer != "sgd":
            raise ValueError(f"momentum is {self.momentum}, but {self.optimizer} has none: set it to 0 or use sgd")
        return self
