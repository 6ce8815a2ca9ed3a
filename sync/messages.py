"""What a person can do about an error, by its code. It is looked up whenever an error is shown."""

from typing import Final

from sync.errors import ErrorCode

RETRY = "Failed days are tried again by themselves; nothing is lost."
CHECK_BASE_URL = "Check the base URL of the source; left empty, it becomes the vendor's own."
CHECK_PORT = "Check the host and the port of the base URL. If both are right, "
VENDOR_SLOW = f"The vendor is slow or overloaded. Try again in a few minutes. {RETRY}"
NOT_SENT = "Nothing was sent, so the credential is safe."
TELL_OPERATOR = f"Tell the administrator of the portal's servers. {RETRY}"
LOWER_RATE = f"Wait a minute. If it happens often, lower the requests a minute of the source. {RETRY}"

ADVICE: Final[dict[ErrorCode, str]] = {
    ErrorCode.HOST_NOT_FOUND: (
        "Check the spelling of the host in the base URL. If it is right, the machine that the portal runs on cannot "
        "look up names: ask the administrator of its network."
    ),
    ErrorCode.CONNECTION_REFUSED: f"{CHECK_PORT}the service is down or a firewall stands in between.",
    ErrorCode.CONNECT_TIMEOUT: (
        f"{CHECK_PORT}a firewall is likely to stand in between: ask the administrator of the network."
    ),
    ErrorCode.RESPONSE_TIMEOUT: VENDOR_SLOW,
    ErrorCode.CONNECTION_BROKEN: VENDOR_SLOW,
    ErrorCode.CERTIFICATE_EXPIRED: f"The owner of that host must renew its certificate. {NOT_SENT}",
    ErrorCode.CERTIFICATE_OTHER_HOST: (
        f"Check the spelling of the host in the base URL: it answers as somebody else. {NOT_SENT}"
    ),
    ErrorCode.CERTIFICATE_UNTRUSTED: (
        "Check the host in the base URL. If it is right and the certificate is your company's own, its authority must "
        f"be made known to the machine that the portal runs on. {NOT_SENT}"
    ),
    ErrorCode.TLS_FAILED: (
        "Check the port of the base URL, and whether it has to begin with http:// instead of https://."
    ),
    ErrorCode.VENDOR_UNAVAILABLE: f"The vendor has a problem of its own: see its status page if it lasts. {RETRY}",
    ErrorCode.RATE_LIMITED: LOWER_RATE,
    ErrorCode.RATE_EXHAUSTED: LOWER_RATE,
    ErrorCode.CREDENTIAL_REJECTED: (
        "Make a new key at the vendor, give it to the source under Credential, and save. If it works, a halted source "
        "resumes by itself."
    ),
    ErrorCode.PERMISSION_MISSING: (
        "The vendor knows the key but does not let it read usage: give it that right at the vendor, or use the key of "
        "someone who has it. Then test the connection: if it works, a halted source resumes."
    ),
    ErrorCode.CREDENTIAL_MALFORMED: (
        "Copy the credential again: it holds a line break or a character that keys do not have."
    ),
    ErrorCode.CREDENTIAL_MISSING: (
        "Set the variable where the portal and its workers run and start them again, or store the credential with the "
        "source."
    ),
    ErrorCode.VARIABLE_NOT_ALLOWED: (
        "Rename the variable where the portal and its workers run, give its new name to the source, and start them "
        "again; or store the credential with the source."
    ),
    ErrorCode.HOST_NOT_ALLOWED: (
        "Credentials go to the vendor's own hosts only. Correct the base URL, or have the host added to the setting "
        "PORTAL_ALLOWED_VENDOR_HOSTS."
    ),
    ErrorCode.BASE_URL_INVALID: CHECK_BASE_URL,
    ErrorCode.REDIRECTED: CHECK_BASE_URL,
    ErrorCode.ENDPOINT_NOT_FOUND: f"{CHECK_BASE_URL} Something answers there, but not the vendor's API.",
    ErrorCode.REQUEST_REJECTED: (
        "The vendor understood the request and does not want it: check the base URL and the vendor's own settings of "
        "the source."
    ),
    ErrorCode.OPTIONS_INVALID: "Correct the vendor's own settings of the source.",
    ErrorCode.TIME_ZONE_MISMATCH: (
        "Look up the time zone of the account at the vendor and give it to the source. Where days are stored already "
        "it is fixed: then add another source with the right zone, and switch this source off."
    ),
    ErrorCode.INVALID_RESPONSE: (
        f"{CHECK_BASE_URL} If it is right, the vendor has changed what it answers: send this sentence to the "
        "portal's administrator."
    ),
    ErrorCode.LISTING_CHANGED: RETRY,
    ErrorCode.RECORDS_REJECTED: "See the rejected records of the day for the reasons. All others are stored.",
    ErrorCode.SUSPECT: "Look at the day's two counts and accept the smaller count if it is right.",
    ErrorCode.LIMITER_UNAVAILABLE: TELL_OPERATOR,
    ErrorCode.LEASE_LOST: TELL_OPERATOR,
    ErrorCode.SCHEMA_DIFFERS: TELL_OPERATOR,
    ErrorCode.UNEXPECTED: TELL_OPERATOR,
}


def get_advice(code: str) -> str:
    """Return what a person can do about an error with this code; "" where only waiting helps."""
    return ADVICE.get(code, "")  # type: ignore[call-overload, no-any-return]  # a StrEnum is its text
