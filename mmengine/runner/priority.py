"""Priorities, which set the order of hooks."""

from enum import Enum


class Priority(Enum):
    """Named priority levels; hooks with a smaller value are called earlier."""

    HIGHEST = 0
    VERY_HIGH = 10
    HIGH = 30
    ABOVE_NORMAL = 40
    NORMAL = 50
    BELOW_NORMAL = 60
    LOW = 70
    VERY_LOW = 90
    LOWEST = 100


def get_priority(priority: int | str | Priority) -> int:
    """Convert a number, a name or a :class:`Priority` to a number from 0 (first) to 100 (last).

    Raises:
        ValueError: If a number is not between 0 and 100.
        KeyError: If no level has the name.
        TypeError: If ``priority`` has another type.
    """
    if isinstance(priority, Priority):
        return priority.value
    if isinstance(priority, bool) or not isinstance(priority, (int, str)):
        raise TypeError(f'priority must be an integer or a name, got {type(priority).__name__}.')
    if isinstance(priority, int):
        if not 0 <= priority <= 100:
            raise ValueError(f'priority must be between 0 and 100, got {priority}.')
        return priority
    try:
        return Priority[priority.upper()].value
    except KeyError:
        levels = ', '.join(level.name for level in Priority)
        raise KeyError(f'There is no priority {priority!r}; the names are {levels}.') from None
