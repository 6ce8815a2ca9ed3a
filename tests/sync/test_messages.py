"""What a person can do about an error is known by its code."""

from sync.errors import ErrorCode, SyncError
from sync.messages import ADVICE, get_advice

# The messages of these codes say what to do, or only waiting helps.
WITHOUT_ADVICE = {
    ErrorCode.PROXY_FAILED,
    ErrorCode.CREDENTIAL_LOCKED,
    ErrorCode.VENDOR_UNKNOWN,
    ErrorCode.TIME_ZONE_UNKNOWN,
    ErrorCode.MEASURES_MISSING,
    ErrorCode.SPOOL_FAILED,
    ErrorCode.REQUEST_INVALID,
    ErrorCode.CANCELLED,
}


def test_every_code_has_its_advice_or_none_is_needed() -> None:
    assert set(ErrorCode) - ADVICE.keys() == WITHOUT_ADVICE
    assert all(advice.endswith(".") for advice in ADVICE.values())


def test_a_wrong_key_and_a_missing_permission_have_different_advice() -> None:
    assert get_advice(ErrorCode.CREDENTIAL_REJECTED) != get_advice(ErrorCode.PERMISSION_MISSING)


def test_a_stored_code_is_looked_up_as_text() -> None:
    assert get_advice("host_not_found") == ADVICE[ErrorCode.HOST_NOT_FOUND]
    assert get_advice("") == ""


def test_every_error_has_a_code_that_its_column_can_store() -> None:
    errors: list[type[SyncError]] = [SyncError, *SyncError.__subclasses__()]

    assert all(isinstance(error.default_code, ErrorCode) for error in errors)
    assert max(map(len, ErrorCode)) <= 40
