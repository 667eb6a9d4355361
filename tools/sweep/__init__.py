"""Run DVC's queue of experiments, side by side on this machine or on the nodes of a Ray cluster: `make sweep`."""
