"""Augmentation of the images that D sees: its settings, and the transforms of images."""
