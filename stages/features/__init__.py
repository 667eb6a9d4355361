"""The features room: the judge, and what real data looks like to it."""
