"""A registry as a table on the terminal."""

import io
from collections.abc import Mapping


def table_text(title: str, components: Mapping[str, object]) -> str:
    """A table of names and the classes or functions registered under them, sorted by name."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title)
    table.add_column('Names', justify='left', style='cyan')
    table.add_column('Objects', justify='left', style='green')
    for name, component in sorted(components.items()):
        table.add_row(name, str(component).replace('[', r'\['))
    text = io.StringIO()
    Console(file=text, width=200).print(table)
    return text.getvalue()
