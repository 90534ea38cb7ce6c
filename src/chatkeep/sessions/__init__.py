"""Whole sessions: change one, delete one for good, and let old ones expire."""
