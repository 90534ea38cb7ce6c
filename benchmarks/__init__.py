"""Measurements of whole processes. Figures are printed, never asserted."""
