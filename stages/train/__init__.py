"""The train stage: the losses, the training step, the training loop and the checkpoints."""
