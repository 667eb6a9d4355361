"""Studies: the stages run over and over with other settings and other seeds, since one run of a GAN is an anecdote."""
