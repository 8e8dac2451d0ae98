"""Measurements: tensorhost against other servers, and against itself. See README.md."""
