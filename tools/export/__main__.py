"""Write the generator in the formats of other programs: `make export`

    python -m tools.export [--models DIR] [--card FILE] [--out DIR]

Reads models/generator.keras, models/discriminator.keras and reports/model_card.md. Writes a folder (exports/) with both
networks in Keras' format, the generator as SavedModel, ONNX and LiteRT (TFLite, in float32 and float16), metadata.json,
and README.md, the model card as the Hugging Face Hub shows it. Each format is loaded by its own runtime and compared
with the Keras file on 64 seeds. The same model gives the same files, except for the SavedModel. Takes about 15 s.
"""

import argparse
from pathlib import Path

from stages.shell import load_tensorflow, run_interruptible
from stages.workspace import Workspace


def main() -> None:
    """Parse the arguments and export."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=Path, default=Path("models"), help="the folder of the networks")
    parser.add_argument(
        "--card", type=Path, default=Path("reports/model_card.md"), help="the model card that the report stage wrote"
    )
    parser.add_argument("--out", type=Path, default=Path("exports"), help="the folder to write")
    arguments = parser.parse_args()
    out = arguments.out.absolute()
    workspace = Workspace(out.parent)

    def work() -> None:
        load_tensorflow("export")
        from tools.export.folder import export

        export(arguments.models, arguments.card, workspace, out.name)

    run_interruptible("export", work, tensorflow=True, clear=workspace.clear)


if __name__ == "__main__":
    main()
