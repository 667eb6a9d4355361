"""`make doctor`: the checks of this machine and of this project, one file per subject."""
