# SPDX-License-Identifier: GPL-2.0-or-later
"""A webhook: JSON that is posted to a URL, signed where there is a secret."""

import hashlib
import hmac
import http.client
import json
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from email.message import Message
from typing import IO, Any
from urllib.parse import urlsplit

import lab
from lab.errors import HostError, UsageError
from lab.farm.notify.secret import take
from lab.host.settings import WebhookSettings

URL, SECRET = "LAB_WEBHOOK_URL", "LAB_WEBHOOK_SECRET"
SIGNATURE = "X-Lab-Signature"
"""The header with `sha256=` and the HMAC-SHA256 (RFC 2104) of the body in hexadecimal digits."""

DEADLINE = 30.0
"""Seconds for the answer."""


@dataclass(frozen=True)
class Hook:
    """A URL that can be posted to; it may be a secret, and is never told."""

    url: str = field(repr=False)
    secret: str = field(default="", repr=False)

    @property
    def name(self) -> str:
        """How it is told of."""
        return f"webhook at {urlsplit(self.url).hostname}"

    def post(self, document: dict[str, Any]) -> None:
        """Post a document.  Raises HostError when it cannot be, or the answer is not 2xx."""
        body = json.dumps(document).encode()
        headers = {"Content-Type": "application/json", "User-Agent": f"lab/{lab.__version__}"}
        if self.secret:
            digest = hmac.new(self.secret.encode(), body, hashlib.sha256).hexdigest()
            headers[SIGNATURE] = f"sha256={digest}"
        asked = urllib.request.Request(self.url, data=body, headers=headers, method="POST")
        try:
            with urllib.request.build_opener(_Straight).open(asked, timeout=DEADLINE) as answer:
                answer.read(0)
        except urllib.error.HTTPError as error:
            with error:
                said = error.read(500).decode(errors="replace")
            raise HostError(f"{self.name}: HTTP status {error.code}", detail=said) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise HostError(f"{self.name}: {reason}", hint="look at notify.webhook") from error


class _Straight(urllib.request.HTTPRedirectHandler):
    """Whoever is redirected would lose the body, or take it to somebody else."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str,
        headers: Message, newurl: str,
    ) -> None:  # fmt: skip
        return None


def hook(settings: WebhookSettings) -> Hook:
    """What can be posted to.  Raises UsageError when there is no URL."""
    url = take(URL, settings.url_file) or settings.url
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise UsageError(
            "notify.webhook has no URL that begins with http:// or https://",
            hint=f"set url or url_file there, or {URL}",
        )
    return Hook(url, take(SECRET, settings.secret_file))
