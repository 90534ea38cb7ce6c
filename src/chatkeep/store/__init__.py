"""The database: its tables, the functions that work on them, and `Store`, which runs those.

Nothing is imported here: commands look for a running server (`lock.py`) without the database.
"""
