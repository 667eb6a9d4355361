"""The networks: generator, discriminator, judge and Inception, and the layers they are made of."""
