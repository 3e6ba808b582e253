"""What goes wrong by the user's doing, and its words."""
import textwrap


class HeadraceError(Exception):
    """What the user can mend: a bad file, an unsupported network, a missing tool.

    The message is one line that says what is wrong, where, and what is supported instead. The command
    line prints it on standard error and ends with exit code 1.
    """


def shorten(text: str, width: int) -> str:
    """The first line of a tool's message, with whole words only where it is longer than ``width``."""
    line = next(iter(text.strip().splitlines()), "")
    return textwrap.shorten(line, width, placeholder=" …") if " " in line[:width] else line[:width]
