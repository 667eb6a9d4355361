"""The networks: generator and discriminator of the DCGAN, the judge, and the layers they are made of."""
