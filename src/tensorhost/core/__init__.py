"""The nouns every other room speaks in. Pure: no I/O, no clock, no threads."""
