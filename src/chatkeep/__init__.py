"""Chatkeep: a server that keeps conversations with a language model."""

__version__ = "0.1.0"
