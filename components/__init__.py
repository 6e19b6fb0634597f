"""WHAT is deployed: one component a file."""
