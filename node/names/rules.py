"""What may be a name: what people do not misread."""

from typing import Final

from node.errors import IdentityError

NAME_LENGTH_MAX: Final = 64
"""Of a household, a network, and of a common name (RFC 5280)."""


def require_name(name: str, *, field: str = "name") -> None:
    """Refuses a name that people would misread, or that cannot be that of a member or a file.

    Raises:
        IdentityError: names the field, and the character.
    """
    fault = fault_of_name(name)
    if fault is not None:
        raise IdentityError(f"{field}: {fault}")


def fault_of_name(name: str) -> str | None:
    """Returns why a text is no name; None if it may be one."""
    if not 1 <= len(name) <= NAME_LENGTH_MAX:
        return f"has {len(name)} characters, and 1 to {NAME_LENGTH_MAX} are allowed"
    # neither control characters nor those that turn the direction of writing are printable
    wrong = next((character for character in name if not character.isprintable() or character == "/"), None)
    if wrong is not None:
        return f"{name!a} has the character U+{ord(wrong):04X}, which no name has"
    if name in {".", ".."} or name.strip() != name:
        return f"{name!a} is a step in a path, or has a space at an end"
    return None
