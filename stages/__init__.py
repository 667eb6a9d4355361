"""The pipeline: each folder here with a __main__.py is a stage; stages meet only in the files that dvc.yaml names."""
