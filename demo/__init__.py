"""The demo: a server of the playable page for any revision, and of what the page needs Python for."""
