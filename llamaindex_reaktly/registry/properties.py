"""What is true of a registry as a whole, by name."""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from llamaindex_reaktly.registry.database import Database
from llamaindex_reaktly.registry.schema import properties

# Which index holds what this registry knows as indexed.
INDEX = "index"

_VALUE = sa.select(properties.c.value).where(properties.c.name == sa.bindparam("name"))


class Properties:
    """The table of properties."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def settle(self, name: str, value: str) -> str:
        """The value that holds for a name: this one, if there was none."""
        for (known,) in self._database.look_up(_VALUE, name=name):
            return str(known)

        def insert(connection: sa.Connection) -> str:
            statement = (sqlite.insert if self._database.is_sqlite else postgresql.insert)(
                properties
            )
            connection.execute(statement.values(name=name, value=value).on_conflict_do_nothing())
            return str(connection.execute(_VALUE, {"name": name}).scalar_one())

        return self._database.write(insert)

    def change(self, name: str, value: str) -> None:
        """Put a value in the place of the one that holds."""
        self._database.write(
            lambda connection: connection.execute(
                sa.update(properties).where(properties.c.name == name).values(value=value)
            )
        )
