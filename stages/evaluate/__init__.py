"""The evaluate stage: measure the quality of the samples, and record the protocol of the measurement."""
