# SPDX-License-Identifier: GPL-2.0-or-later
"""The database behind the store: SQLite in the state directory, or what LAB_STORE names.

LAB_STORE is a URL as SQLAlchemy reads it, such as postgresql+psycopg://lab@db/lab.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    InterfaceError,
    NoSuchModuleError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from lab.errors import HostError, UsageError
from lab.host import dirs, lock

VARIABLE = "LAB_STORE"
PATIENCE = 30.0
"""Seconds to wait for another process that writes."""

_ADVISORY = 0x6C6162
"""The key of PostgreSQL's advisory lock (pg_advisory_xact_lock) of those who migrate: `lab`."""

LIVELY: Mapping[str, Any] = {
    "connect_timeout": 10,
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15000,
}
"""How a connection to PostgreSQL finds out that the other end is gone (libpq, 34.1.2)."""


def shared() -> bool:
    """Whether the store is one that several hosts can share: PostgreSQL."""
    return url().startswith("postgresql")


def url() -> str:
    """Where the store is."""
    return os.environ.get(VARIABLE) or f"sqlite:///{dirs.state() / 'store.sqlite'}"


class Store:
    """The store, for a process that asks it again and again; its tables are made or brought up to
    date first.

    Raises UsageError for a LAB_STORE that names no database, HostError when the database refuses.
    """

    def __init__(self) -> None:
        self._engine = _engine()
        with self._telling():
            _migrate(self._engine)

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A session, which commits at the end.  Raises HostError when the database refuses."""
        # What was read stays readable when the session has ended.
        with self._telling(), Session(self._engine, expire_on_commit=False) as opened:
            yield opened
            opened.commit()

    def close(self) -> None:
        """Close its connections."""
        self._engine.dispose()

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            # The statement and its values are noise; the database's own words are in `orig`.
            said = str(error.orig) if isinstance(error, DBAPIError) else str(error)
            raise HostError(f"the store {_shown(self._engine)}: {said}", hint=_hint()) from error


@contextmanager
def session() -> Iterator[Session]:
    """A session on the store, for a process that asks it once; otherwise as Store."""
    store = Store()
    try:
        with store.session() as opened:
            yield opened
    finally:
        store.close()


def away(error: HostError) -> bool:
    """Whether the database could not be asked, and may be later: it is started again, say."""
    return isinstance(error.__cause__, OperationalError | InterfaceError | PoolTimeout)


def _engine() -> Engine:
    try:
        named = make_url(url())
        if named.drivername == "postgresql":
            # The driver that the lab brings; which one a bare URL means depends on SQLAlchemy.
            named = named.set(drivername="postgresql+psycopg")
        arguments = _arguments(named.get_backend_name())
        engine = create_engine(named, connect_args=arguments, pool_pre_ping=bool(arguments))
    except (ArgumentError, NoSuchModuleError) as error:
        raise UsageError(
            f"{VARIABLE}: {error}", hint="such as sqlite:////var/lib/lab.sqlite"
        ) from error
    except ImportError as error:
        raise UsageError(f"{VARIABLE}: {error}", hint=f"pip install {error.name}") from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _set_up_sqlite)
    return engine


def _arguments(backend: str) -> dict[str, Any]:
    """What connections are made with: none may hang on a network that was cut."""
    return dict(LIVELY) if backend == "postgresql" else {}


def _set_up_sqlite(connection: Any, _record: object) -> None:
    """Readers do not wait for a writer (WAL); a lab that is killed loses nothing committed."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(f"PRAGMA busy_timeout={int(PATIENCE * 1000)}")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA synchronous=NORMAL")


def _migrate(engine: Engine) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    newest = ScriptDirectory.from_config(config).get_current_head()
    with engine.connect() as connection:
        if _revision(connection) == newest:
            return
    with lock.held(dirs.state() / "store.lock", deadline=PATIENCE), engine.begin() as connection:
        alone(connection)
        if _revision(connection) == newest:
            return
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise HostError(
                f"the store {_shown(engine)} is of another lab: {error}",
                hint="update this lab, or set LAB_STORE to a store of its own",
            ) from error


def alone(connection: Connection) -> None:
    """Let no lab of any host change what tables there are, until the transaction ends.

    SQLite is of one host, whose labs hold a lock in the state directory.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": _ADVISORY})


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _shown(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=True)


def _hint() -> str:
    return f"check the database, or {VARIABLE}"
