# SPDX-License-Identifier: GPL-2.0-or-later
"""Who of all hosts makes an artifact: one at a time, by a lock in the store's database.

The lock is the database's own, of a transaction: it goes with the connection, and so with whoever
is killed or cut off.
"""

import contextlib
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import text
from sqlalchemy.orm import Session

from lab.artifacts.cache import BUILD_DEADLINE
from lab.artifacts.depot import Progress
from lab.errors import HostError
from lab.results.store.database import Store

_ASK = 2.0
"""Seconds between two tries."""

_LIVELY = ("tcp_keepalives_idle = 10", "tcp_keepalives_interval = 5", "tcp_keepalives_count = 3")
"""How the server finds out that a holder is gone without a word: by default after hours."""


@contextmanager
def lease(name: str, progress: Progress) -> Iterator[None]:
    """Hold the lease on an artifact, once whoever has it gives it back.

    Where the database does not answer, or the deadline passes, it is gone without: to make
    something twice is better than not at all.
    """
    with contextlib.ExitStack() as stack:
        try:
            store = Store()
            stack.callback(store.close)
            session = stack.enter_context(_forgiving(store))
            _acquire(session, name, progress)
        except HostError as error:
            progress(f"{name} is made without a lease: {error.message}")
        yield


@contextmanager
def _forgiving(store: Store) -> Iterator[Session]:
    """A session at whose end it does not matter whether the database still knows of it."""
    opened = store.session()
    session = opened.__enter__()
    try:
        yield session
    finally:
        with contextlib.suppress(HostError):
            opened.__exit__(None, None, None)


def _acquire(session: Session, name: str, progress: Progress) -> None:
    for setting in _LIVELY:
        session.execute(text(f"set local {setting}"))
    end, told = time.monotonic() + BUILD_DEADLINE, False
    asked = text("select pg_try_advisory_xact_lock(hashtextextended(:name, 0))")
    while not session.scalar(asked, {"name": f"lab artifact {name}"}):
        if not told:
            progress(f"{name}: another host is making it")
            told = True
        if time.monotonic() > end:
            raise HostError(f"no end after {BUILD_DEADLINE:.0f} s on another host")
        time.sleep(_ASK)
