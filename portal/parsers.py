"""How the API reads the body of a request: JSON of a bounded size and depth."""

from collections.abc import Mapping
from http import HTTPStatus
from io import BytesIO
from typing import Any, Final

from rest_framework.exceptions import APIException, ParseError
from rest_framework.parsers import JSONParser

LARGEST_BODY: Final = 2**16  # the only body that the API takes names two dates


class BodyTooLarge(APIException):
    """A body that no request of the API needs."""

    status_code = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    default_detail = f"The body is larger than {LARGEST_BODY:,} bytes."


class BoundedJSONParser(JSONParser):
    """JSON, of which no more is read than a request may hold; DRF's own would hold any amount in memory."""

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None) -> Any:
        """Return what the body says; raises BodyTooLarge, and ParseError where it is not JSON or nested without end."""
        body = stream.read(LARGEST_BODY + 1)
        if len(body) > LARGEST_BODY:
            raise BodyTooLarge
        try:
            return super().parse(BytesIO(body), media_type, parser_context)
        except RecursionError:
            raise ParseError("JSON parse error - it is nested too deeply.") from None
