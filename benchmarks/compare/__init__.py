"""tensorhost against the servers a user could install instead: ``python -m benchmarks.compare``. See ../README.md."""
