"""What the page shows besides the networks: `payload.page`."""

from typing import Any

import keras

from stages.manifest import Manifest
from stages.workspace import Workspace


def contents(workspace: Workspace, data: Manifest, generator: keras.Model) -> dict[str, Any]:
    """The page's own data, as JSON."""
    return {}
