"""The demo: a web page on the trained networks, for people to play with."""
