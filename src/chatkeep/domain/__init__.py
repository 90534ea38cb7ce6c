"""The words of the product: what a session, a turn and an error are."""
