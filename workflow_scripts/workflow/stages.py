"""The stages of every method, in the order in which they run."""

STAGES = ("synthesize", "pretrain", "finetune", "predict", "evaluate", "plot")
