"""Print where the results of a finished pipeline are. `make own` runs this last.

python -m tools.own.results
"""

from pathlib import Path

from stages import shell

if __name__ == "__main__":
    shell.say("The samples: ", Path("reports/samples/grid.png"))
    shell.say("The report:  ", Path("reports/report.html"))
