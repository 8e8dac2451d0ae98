"""TensorFlow Serving's command line: its flags, its files and its environment, as settings of this server.

``flags.py`` is the table, ``parsing.py`` reads a command line with it, ``translation.py`` says which settings follow.
"""

from tensorhost.cli.model_server.command import main, model_server, run

__all__ = ["main", "model_server", "run"]
