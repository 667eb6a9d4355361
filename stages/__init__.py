"""The pipeline. Each folder with a __main__.py is a stage. Stages exchange data only through the files in dvc.yaml."""
