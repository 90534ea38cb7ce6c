"""OpenAI's dialect over the same turns, sessions and messages: everything below `/v1/`."""
