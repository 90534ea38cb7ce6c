"""Chatkeep as a server process: `chatkeep serve`, and what uvicorn needs for it."""
