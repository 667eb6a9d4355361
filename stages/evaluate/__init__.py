"""The evaluate room: how good the samples are, in numbers with their protocol."""
