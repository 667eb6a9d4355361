"""The HTML template with which `dvc plots` draws without a network: python -m tools.plots_page FILE

DVC's own page loads Vega from the network, so it is blank without one. This template has Vega inside, 0.9 MB, from the
package vl-convert-python. It also shows each file once (DVC draws a file for its stage, and again for its entry in
dvc.yaml), no empty figure (of a JSON file without rows), and the pictures of all revisions at one width.

Writes FILE and names it in .dvc/config.local. `make setup` runs this. .dvc/config cannot name it: DVC fails if the file
does not exist, and a new clone has none yet. There, `dvc plots` works with DVC's own page.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import vl_convert

from stages.errors import StageError
from stages.shell import run_command

_PLACEHOLDERS = ("{refresh_tag}", "{scripts}", "{plot_divs}")

# {scripts} is missing, so DVC does not add its links to the network.
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
{refresh_tag}
<title>DVC plots</title>
<style>
  body { font: 15px/1.4 system-ui, sans-serif; }
  img { width: min(46vw, 40rem); image-rendering: pixelated; }
  [hidden] { display: none !important; }
</style>
<script>(function () {
VEGA
})();</script>
<script>
  const specs = {}, draw = window.vegaEmbed;
  window.vegaEmbed = (place, spec) => { specs[place.slice(1)] = spec; if (spec.data) draw(place, spec); };
</script>
</head>
<body>
{plot_divs}
<script>
  // The figures of one file: an entry of dvc.yaml has a title and axes, but an older revision may lack the entry.
  const figures = [...document.querySelectorAll("body > div[id]")], best = {};
  const file = (div) => div.id.replace("dvc_yaml__", "");
  const revisions = (div) => specs[div.id]
    ? new Set((specs[div.id].data?.values ?? []).map((row) => row.rev)).size
    : div.querySelectorAll("img").length;
  for (const div of figures) {
    const before = best[file(div)];
    if (revisions(div) > (before ? revisions(before) : 0)) best[file(div)] = div;
  }
  for (const div of figures) div.hidden = best[file(div)] !== div;
</script>
</body>
</html>
"""


def page() -> str:
    """The template. Vega-Lite has the newest version of the major version that DVC's templates name (5)."""
    version = max(
        (name for name in vl_convert.get_vegalite_versions() if name.startswith("5.")),
        key=lambda name: tuple(map(int, name.split("."))),
    )
    vega = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", version).replace("</script", r"<\/script")
    if any(name in vega for name in _PLACEHOLDERS):
        raise StageError(
            "vl-convert-python: its Vega contains a placeholder of DVC's page; install another version of it"
        )
    return _PAGE.replace("VEGA", vega)


def write(file: Path) -> None:
    """Write the template, and name it in .dvc/config.local of the current project."""
    part = file.with_suffix(".part")
    part.write_text(page(), encoding="utf-8")
    part.replace(file)
    path = os.path.relpath(file, ".dvc")
    command = [sys.executable, "-m", "dvc", "config", "--local", "plots.html_template", path]
    subprocess.run(command, check=True)


def main() -> None:
    """Write the template to the file that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    write(parser.parse_args().file)


if __name__ == "__main__":
    run_command(main)
