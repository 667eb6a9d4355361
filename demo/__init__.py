"""The demo: a web page for playing with the trained networks."""
