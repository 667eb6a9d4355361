"""The download room: bytes from elsewhere, verified."""
