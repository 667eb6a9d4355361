"""Studies run the stages with many settings and seeds, because one run of a GAN is an anecdote."""
