"""What comes in place of an answer that was hoped for, and what the body of an error says."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from pdsync.errors import PdsyncError
from pdsync.transport.exchange import read_json

if TYPE_CHECKING:
    from pdsync.errors import Diagnostic
    from pdsync.model import Json

_MESSAGE_LENGTH = 600


class ApiError(PdsyncError):
    """A server answered, and not as hoped.

    `code` and `message` are the server's own; `details` whatever else its body said about the error; `doubtful`: it had
    more than one try, or trouble, so that what was asked for may have been done all the same.  It was sent so many
    times.  `retry_after` is what the answer to another request than this one's said of the next try; `given_up` why it
    was not tried again.
    """

    doubtful = False
    times_sent = 0
    retry_after = ""
    given_up = ""

    def __init__(
        self,
        diagnostic: Diagnostic,
        *,
        status: int,
        method: str,
        path: str,
        code: str = "",
        message: str = "",
        trace_id: str = "",
        details: Json = None,
    ) -> None:
        super().__init__(diagnostic)
        self.status = status
        self.method = method
        self.path = path
        self.code = code
        self.message = message
        self.trace_id = trace_id
        self.details = details


class Spent(ApiError):
    """Nothing is left of a longer budget: what would need it is not sent, and was not done."""


class Unreachable(PdsyncError):
    """No answer came.

    `what` is what got none, in words; `sent` whether the server may have received, and done, what was asked; `hopeless`
    whether trying again is in vain.  It was sent so many times.
    """

    times_sent = 0

    def __init__(self, diagnostic: Diagnostic, *, what: str, sent: bool, hopeless: bool = False) -> None:
        super().__init__(diagnostic)
        self.what = what
        self.sent = sent
        self.hopeless = hopeless


class Complaint(NamedTuple):
    """What an error body says."""

    code: str = ""
    message: str = ""
    details: Json = None


def read_complaint(content: bytes) -> Complaint:
    """The error in a body of PagerDuty, Port or an OAuth server; empty when the body is none of these.

    PagerDuty: `{"error": {"message", "code", "errors"}}`, `error` may be a text and `errors` an object (PagerDuty
    REST API, Errors).  Port: `{"ok": false, "error", "message", "details"}` (Port API reference).
    """
    try:
        body = read_json(msgspec.json.decode, content)
    except ValueError:
        return Complaint()
    if not isinstance(body, dict):
        return Complaint()
    inner = body.get("error")
    if isinstance(inner, dict):
        said, more = _text(inner.get("message")), _list_errors(inner.get("errors"))
        message = ": ".join(part for part in (said, "" if more == said else more) if part)
        return Complaint(_text(inner.get("code")), _shorten(message), inner.get("errors"))
    message = _text(body.get("message")) or _text(body.get("error_description"))
    if message:
        return Complaint(_text(inner), _shorten(message), body.get("details"))
    return Complaint("", _shorten(_text(inner)), body.get("details"))


def _text(value: Json) -> str:
    return "" if value is None or isinstance(value, dict | list) else str(value)


def _list_errors(errors: Json) -> str:
    if isinstance(errors, dict):
        return "; ".join(f"{name} {_list_errors(told)}" for name, told in errors.items())
    if isinstance(errors, list):
        return "; ".join(_text(told) for told in errors if _text(told))
    return _text(errors)


def _shorten(text: str) -> str:
    return text if len(text) <= _MESSAGE_LENGTH else text[: _MESSAGE_LENGTH - 1] + "…"
