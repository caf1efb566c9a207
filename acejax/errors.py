"""The one exception that a user can mend: the command line prints its text on one line and exits with code 2."""


class UserError(Exception):
    """Bad input. The message names the field, file or line, says what was found and what to do."""
