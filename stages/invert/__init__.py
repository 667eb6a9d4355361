"""The invert command: from a picture back to the z whose sample is nearest. It is not a stage of the pipeline."""
