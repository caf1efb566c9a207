"""The one exception that a user can mend: the command line prints its text on one line and exits with code 2.

Beside it, what a library's error comes to on that line.
"""


class UserError(Exception):
    """Bad input. The message names the field, file or line, says what was found and what to do."""


def reason_of(error: Exception) -> str:
    """The first line of what a library's error says, or its type where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
