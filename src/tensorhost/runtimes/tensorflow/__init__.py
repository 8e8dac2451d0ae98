"""Executing graphs with TensorFlow: SavedModels, frozen graphs, and what other formats are turned into."""
