"""The networks that measure images: the judge, and Inception if the params choose it."""

from dataclasses import dataclass

import numpy as np

from stages import artifacts, reference
from stages.errors import StageError
from stages.manifest import Manifest
from stages.networks import inception
from stages.networks import judge as judges
from stages.networks.inception import Inception
from stages.networks.judge import Judge
from stages.reference import Reference
from stages.workspace import Workspace


@dataclass(frozen=True)
class Networks:
    """The judge gives classes. Features come from the feature network: Inception, or else the judge.

    `name` and `sha256` are those of the feature network, and `reference` is real data in its features. Without one they
    are "none", "" and None. `precise`: whether precision and density in its features fall when pictures get worse.
    """

    judge: Judge | None
    inception: Inception | None
    name: str = "none"
    sha256: str = ""
    reference: Reference | None = None
    precise: bool = True

    @property
    def labelled(self) -> bool:
        """Whether there is a judge of the labels."""
        return self.judge is not None and self.judge.labelled

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the judge's classes; empty without a judge."""
        return self.judge.names if self.judge else ()

    @property
    def shares(self) -> np.ndarray:
        """The shares of the judge's classes among the training images, float64 (K,); empty without a judge."""
        return self.judge.shares if self.judge else np.zeros(0)

    def infer(self, images: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Images (N, H, W, C) => classes int64 (N,) and features float32 (N, d); None without a network for them."""
        prediction = self.judge(images) if self.judge else None
        classes, features = (prediction.classes, prediction.features) if prediction else (None, None)
        return classes, self.inception(images) if self.inception else features


def load_networks(workspace: Workspace, data: Manifest) -> Networks:
    """Load the networks that the features stage wrote.

    Raises StageError if a file is missing or damaged, or if the reference belongs to another data set.
    """
    reference_file = workspace.input("data/reference.npz")
    judge_reference = reference.load(reference_file)
    judge_folder = workspace.input("models/features")
    judge = judges.load(judge_folder, data)
    if (judge_reference is None) != (judge is None):
        other = "without" if judge else "with"
        raise StageError(f"{reference_file}: made from a data set {other} a judge; run `dvc repro`")
    inception_folder = workspace.input("models/inception")
    graph = inception.load(inception_folder)
    if graph is not None:
        graph_reference = reference.load(inception_folder / inception.REFERENCE)
        if graph_reference is None:
            raise artifacts.damaged(inception_folder / inception.REFERENCE, "it has no features")
        sha256 = artifacts.sha256(inception_folder / inception.FILE)
        return Networks(judge, graph, "inception", sha256, graph_reference)
    if judge is not None:
        name = judges.LABELLED if judge.labelled else judges.UNLABELLED
        precise = not judges.flattered(judge_folder)
        return Networks(judge, None, name, artifacts.sha256(judge_folder / judges.FILE), judge_reference, precise)
    return Networks(None, None)
