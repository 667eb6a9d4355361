"""The report stage: one page and a model card from the outputs of the other stages."""
