"""The ``tensorhost`` command, one file per subcommand.

What every command keeps to: nothing heavy is imported before a command needs it, so that help and completion come
at once; results go to standard output and everything else to standard error; the exit code is 0 when it worked,
1 when the operation failed, 2 for wrong usage, 3 when no server answers; a user never sees a stack trace.
"""

from tensorhost.cli.app import app, main

__all__ = ["app", "main"]
