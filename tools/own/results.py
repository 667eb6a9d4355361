"""Print where the samples of a finished pipeline are. `make own` runs this last, after the path of the report.

python -m tools.own.results
"""

from pathlib import Path

from stages import shell

if __name__ == "__main__":
    shell.say("The samples: ", Path("reports/samples/grid.png"))
