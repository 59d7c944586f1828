"""The kinds of roles that work with the tables beside their owner."""

from enum import Enum


class RoleKind(Enum):
    """What a role is for."""

    WRITER = "writer"
    READER = "reader"
