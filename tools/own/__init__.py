"""`make own`: look at a folder of pictures, write a params.yaml for them, and estimate the time and the disk space."""
