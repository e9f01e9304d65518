# SPDX-License-Identifier: GPL-2.0-or-later
"""Who is told of a night, found before it begins, and told when it has ended."""

from collections.abc import Iterator
from dataclasses import dataclass

from lab.errors import HostError
from lab.farm.notify.mail import Mailbox, mailbox
from lab.farm.notify.webhook import Hook, hook
from lab.host.settings import NotifySettings, Occasion
from lab.results import letter
from lab.results.news import Night


@dataclass(frozen=True)
class Notices:
    """Those who are to be told."""

    settings: NotifySettings
    mailbox: Mailbox | None
    hook: Hook | None

    def page(self, night: Night) -> str:
        """The address of a night's page; '' where no web server has the pages."""
        return f"{self.settings.pages.rstrip('/')}/{night.row.id}.html" * bool(self.settings.pages)

    def due(self, night: Night) -> bool:
        """Whether the night is one to be told of."""
        return self.settings.when is Occasion.ALWAYS or letter.matters(night)

    def tell(self, night: Night) -> Iterator[tuple[str, HostError | None]]:
        """Tell of a night, each by each: who was told, and what that failed with."""
        page = self.page(night)
        if self.mailbox:
            try:
                self.mailbox.send(letter.subject(night), letter.text(night, page))
                yield self.mailbox.name, None
            except HostError as error:
                yield self.mailbox.name, error
        if self.hook:
            try:
                self.hook.post(letter.document(night, page))
                yield self.hook.name, None
            except HostError as error:
                yield self.hook.name, error


def notices(settings: NotifySettings) -> Notices:
    """Those whom the settings name, with their secrets, which are taken from the environment.

    Raises UsageError when something is missing: better now than at the end of a night.
    """
    return Notices(
        settings,
        mailbox(settings.mail) if settings.mail else None,
        hook(settings.webhook) if settings.webhook else None,
    )
