"""The settings of the invert command."""

from dataclasses import dataclass
from pathlib import Path

from stages.errors import StageError

RESTARTS = 8
"""The descents for a picture. More of them find samples that are hardly nearer (docs/metrics.md)."""


@dataclass(frozen=True)
class Settings:
    """What to search for. Raises StageError for a value out of range, and names the option."""

    picture: Path
    """A picture in any format that the prepare stage reads."""
    model: Path = Path("models/generator.keras")
    """The generator."""
    out: Path | None = None
    """The PNG to write; None: the picture's name with -inverted.png, in the current folder."""
    seed: int = 0
    """Decides the random samples from which the descents start."""
    steps: int = 1000
    """The steps of each descent. The time grows in proportion."""

    def __post_init__(self) -> None:
        """Check the values."""
        if not 0 <= self.seed < 1 << 20:
            raise StageError(f"--seed: expected 0 to {(1 << 20) - 1:,}, got {self.seed}")
        if not 1 <= self.steps <= 100_000:
            raise StageError(f"--steps: expected 1 to 100,000, got {self.steps}")
        if self.out is not None and self.out.suffix.lower() != ".png":
            raise StageError(f"--out: {self.out}: expected a name that ends with .png")

    @property
    def image_file(self) -> Path:
        """The PNG to write."""
        return self.out or Path(f"{self.picture.stem}-inverted.png")

    @property
    def z_file(self) -> Path:
        """The array of z to write, next to the PNG."""
        return self.image_file.with_suffix(".npy")
