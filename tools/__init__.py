"""Set-up from nothing, and what the Makefile's targets run."""
