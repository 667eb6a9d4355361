"""Commands around the pipeline: they inspect the machine, dvc.lock and Git's history. No stage needs them."""
