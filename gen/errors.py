class HeadraceError(Exception):
    """What the user can mend: a bad file, an unsupported network, a missing tool.

    The message is one line that says what is wrong, where, and what is supported instead. The command
    line prints it on standard error and ends with exit code 1.
    """
