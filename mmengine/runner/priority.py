"""How early a hook is called."""

from enum import Enum


class Priority(Enum):
    """Named levels; a smaller value is called earlier."""

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
    """The number, from 0 (first) to 100 (last), of a level given as number, name or
    :class:`Priority`.

    Raises:
        ValueError: If a number is not within 0 and 100.
        KeyError: If no level has that name.
        TypeError: If it is neither.
    """
    if isinstance(priority, Priority):
        return priority.value
    if isinstance(priority, bool) or not isinstance(priority, (int, str)):
        raise TypeError(f'A priority is a number or a name, got {type(priority).__name__}.')
    if isinstance(priority, int):
        if not 0 <= priority <= 100:
            raise ValueError(f'A priority is between 0 and 100, got {priority}.')
        return priority
    try:
        return Priority[priority.upper()].value
    except KeyError:
        levels = ', '.join(level.name for level in Priority)
        raise KeyError(f'No priority is called {priority!r}; there are {levels}.') from None
