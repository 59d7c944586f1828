"""What can be the name of a model."""

LONGEST_NAME = 200
"""So much of a name is looked at where prices are found."""


def is_model(name: str) -> bool:
    """Whether a text can be a model's name, or that of a deployment."""
    return 0 < len(name) <= LONGEST_NAME and name.isprintable() and name == name.strip()
