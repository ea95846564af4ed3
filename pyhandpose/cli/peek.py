"""The value of one option before the command line is parsed: presets decide the defaults."""


def peek(argv: list[str], option: str) -> str | None:
    """What ``option VALUE`` or ``option=VALUE`` gives, the last one counting; None without it."""
    value = None
    for position, argument in enumerate(argv):
        if argument == option and position + 1 < len(argv):
            value = argv[position + 1]
        elif argument.startswith(f"{option}="):
            value = argument.partition("=")[2]
    return value
