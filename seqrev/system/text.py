"""Text that holds what a stranger chose, made safe and short enough to be shown."""


def shorten(value: object, width: int = 24) -> str:
    """A value as it may be shown in a message: short, and with control characters made visible."""
    try:
        text = ascii(value)
    except (ValueError, RecursionError):  # Python prints no whole number of more than 4,300 digits, and no deep nesting
        text = f"a {type(value).__name__} too large to print"
    return text if len(text) <= width else text[: width - 1] + "…"


def printable(text: str) -> str:
    """Text with its control characters, which could steer a terminal, written out; line ends stay."""
    return "".join(char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in text)
