"""The features stage: the judge, and the real data in its features."""
