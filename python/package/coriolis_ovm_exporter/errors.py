"""What is raised. Where ``requests`` is installed, its classes catch ours too."""

import json
from typing import TYPE_CHECKING, Any, Dict, Optional

if TYPE_CHECKING:

    class _HTTPError(OSError): ...

    class _ConnectionError(ConnectionError): ...

    class _SSLError(OSError): ...

else:
    try:
        from requests import HTTPError as _HTTPError
        from requests import ConnectionError as _Broken
        from requests.exceptions import SSLError as _SSLError

        class _ConnectionError(_Broken, ConnectionError):
            """By either name."""

    except ImportError:
        _HTTPError, _ConnectionError, _SSLError = OSError, ConnectionError, OSError


class Response:
    """What of an answer is known, by the names that ``requests.Response`` has for it."""

    def __init__(self, status_code: int, body: Dict[str, Any]) -> None:
        self.status_code = status_code
        self.reason = str(body.get("error", ""))
        self.text = json.dumps(body)
        self.content = self.text.encode()
        self.headers: Dict[str, str] = {"Content-Type": "application/json"}
        self.ok = status_code < 400

    def json(self) -> Dict[str, Any]:
        """The body: ``error``, ``details`` and perhaps ``request_id``."""
        body: Dict[str, Any] = json.loads(self.text)
        return body


class ExporterError(Exception):
    """Everything that this package raises by itself."""


class HTTPError(ExporterError, _HTTPError):
    """The node will not, or cannot. Caught by ``except requests.HTTPError``."""

    def __init__(
        self,
        message: str,
        status_code: int = 0,
        error: str = "",
        details: str = "",
        request_id: Optional[str] = None,
    ) -> None:
        super().__init__(message)
        body = {"error": error, "details": details}
        if request_id is not None:
            body["request_id"] = request_id
        #: The HTTP status.
        self.status_code = status_code
        #: The class of error, such as ``Conflict``.
        self.error = error
        #: What failed, on what, why, and what to do.
        self.details = details
        #: To be found in the daemon's log.
        self.request_id = request_id
        self.response = Response(status_code, body)


class TransportError(ExporterError, _ConnectionError):
    """No answer, or one that broke off. Caught by ``except requests.ConnectionError`` and ``except
    ConnectionError``."""

    def __init__(self, message: str) -> None:
        super().__init__(message)


class CertificateError(TransportError, _SSLError):
    """The node's certificate is not believed. Caught by ``except requests.exceptions.SSLError`` too."""


class ProtocolError(ExporterError, ValueError):
    """An answer is not what it should be: see that it is a node's daemon that answers."""


class ReplicationError(ExporterError, RuntimeError):
    """A run has not come to its end; the state says how the next one goes on.

    Where a node's answer is the cause, that is ``__cause__``.
    """

    def __init__(self, message: str, disk: Optional[str] = None, transient: bool = False) -> None:
        super().__init__(message)
        #: The disk that it is about, if it is about one.
        self.disk = disk
        #: Whether the same run may succeed later without anybody doing anything.
        self.transient = transient
