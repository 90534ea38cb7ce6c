"""Turns: submit one, run it, read its stream, end it, and recover those of a dead process."""
