"""The sample room: pictures from the trained generator."""
