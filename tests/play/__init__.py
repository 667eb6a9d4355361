"""The playable page."""
