"""Exit codes (X19), and the error that a command ends with."""

from typing import Final

DONE: Final = 0
FAILED: Final = 1
WRONG_USE: Final = 2
SOME_REFUSED: Final = 3
NOT_FOUND: Final = 4
INTERRUPTED: Final = 130


class CommandError(Exception):
    """Ends the command with one message on standard error. The message names what is wrong, the value and the fix.

    Attributes:
        message: for the person at the terminal, without the word "error".
        exit_code: one of X19.
    """

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code


class WrongUseError(CommandError):
    """An option, an argument or a given file that cannot be used; exit code 2."""

    def __init__(self, message: str) -> None:
        super().__init__(message, WRONG_USE)


class MissingError(CommandError):
    """What was asked for is not there; exit code 4."""

    def __init__(self, message: str) -> None:
        super().__init__(message, NOT_FOUND)
