"""Models for other programs: SavedModel, ONNX and LiteRT files with a model card, and where to publish them."""
