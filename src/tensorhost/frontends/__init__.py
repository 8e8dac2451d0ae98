"""Wire protocols. Each translates between its wire and the engine, and owns its table from error code to status."""
