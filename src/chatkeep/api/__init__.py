"""HTTP: requests into plain values, values into responses. Nothing is decided here."""
