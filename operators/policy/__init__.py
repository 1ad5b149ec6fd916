"""Deferral policies: which events go to the expert, and how that is learned."""
