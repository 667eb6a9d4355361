"""Turn a downloaded data set into an index of its pictures: one file per format."""
