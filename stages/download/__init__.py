"""The download stage: get the data set's files and verify them."""
