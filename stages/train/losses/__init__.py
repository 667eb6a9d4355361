"""The losses of the GAN: their table (`catalog.py`), and a module of formulas for each."""
