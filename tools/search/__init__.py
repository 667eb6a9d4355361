"""A search for better params of the training with Optuna: make search."""
