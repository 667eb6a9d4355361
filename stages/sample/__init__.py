"""The sample stage: pictures of samples from the trained generator."""
