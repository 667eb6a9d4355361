"""The play stage: a page that runs the networks in the browser."""
