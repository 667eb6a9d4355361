"""The train room: the DCGAN's losses, its training step and the loop around it."""
