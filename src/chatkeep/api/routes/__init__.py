"""The routes, a file for each resource: each has a `router` that `app.py` includes."""
