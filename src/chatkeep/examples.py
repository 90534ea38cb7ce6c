"""The models that examples name, in the code, the documentation and the page: here alone.

Providers shut models down. Change a name here, then run `python scripts/reference.py`, which
writes it into every page of the documentation; the tests of the documentation check it.
"""

OPENAI = "openai:gpt-6-luna"
ANTHROPIC = "anthropic:claude-sonnet-5-5"
OLLAMA = "ollama:gemma4"

MODELS = (OPENAI, ANTHROPIC, OLLAMA)
