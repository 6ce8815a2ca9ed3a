"""The parser of request bodies: JSON of a bounded size and depth."""

from collections.abc import Mapping
from http import HTTPStatus
from io import BytesIO
from typing import Any, Final

from rest_framework.exceptions import APIException, ParseError
from rest_framework.parsers import JSONParser

MAX_BODY_BYTES: Final = 2**16  # the largest valid body has two dates or a reason


class BodyTooLarge(APIException):
    """The body is larger than any that the API needs."""

    status_code = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    default_detail = f"The body is larger than {MAX_BODY_BYTES:,} bytes."


class BoundedJSONParser(JSONParser):
    """JSON of at most MAX_BODY_BYTES; DRF's own parser reads any amount into memory."""

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None) -> Any:
        """Return the parsed body; raises BodyTooLarge, and ParseError for what is not JSON or nested too deeply."""
        body = stream.read(MAX_BODY_BYTES + 1)
        if len(body) > MAX_BODY_BYTES:
            raise BodyTooLarge
        try:
            return super().parse(BytesIO(body), media_type, parser_context)
        except RecursionError:
            raise ParseError("JSON parse error - it is nested too deeply.") from None
