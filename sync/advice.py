"""What a person can do about an error, by the portal's own sentence for it.

Days, attempts, runs and halted sources keep that sentence; the advice is looked up when it is shown, so that it
can get better without touching what is on record.
"""

import re
from typing import Final

SENTENCES: Final = (
    (
        r"could not be resolved \(DNS\)",
        (
            "Check the spelling of the host in the base URL. If it is right, the machine that the portal runs "
            "on cannot look up names: ask whoever looks after its network."
        ),
    ),
    (
        r"refused the connection",
        (
            "Check the host and the port of the base URL. If both are right, the service is down or a "
            "firewall stands in between."
        ),
    ),
    (
        r"could not be reached in time",
        (
            "Check the host and the port of the base URL. If both are right, a firewall is likely to stand in "
            "between: ask whoever looks after the network."
        ),
    ),
    (
        r"did not answer within|sent its answer too slowly|broke off",
        (
            "The vendor is slow or overloaded. Try again in a few minutes. Failed days are tried again by "
            "themselves; nothing is lost."
        ),
    ),
    (
        r"is not to be trusted: expired",
        "The owner of that host must renew its certificate. Nothing was sent, so the credential is safe.",
    ),
    (
        r"is not to be trusted: that of another host",
        (
            "Check the spelling of the host in the base URL: it answers as somebody else. Nothing was sent, "
            "so the credential is safe."
        ),
    ),
    (
        r"is not to be trusted",
        (
            "Check the host in the base URL. If it is right and the certificate is your company's own, its "
            "authority must be made known to the machine that the portal runs on. Nothing was sent, so the "
            "credential is safe."
        ),
    ),
    (
        r"No TLS connection",
        "Check the port of the base URL, and whether it has to begin with http:// instead of https://.",
    ),
    (
        r"does not accept the credential",
        (
            "Make a new key at the vendor, give it to the source under Credential, save, test the connection, "
            "and press Resume if the source is halted."
        ),
    ),
    (
        r"The credential may not read this",
        (
            "The vendor knows the key but does not let it read usage: give it that right at the vendor, or "
            "use the key of someone who has it. Then press Resume if the source is halted."
        ),
    ),
    (
        r"characters that no header can carry",
        "Copy the credential again: it holds a line break or a character that keys do not have.",
    ),
    (
        r"The environment variable \S+ is not set|has no credential",
        (
            "Set the variable where the portal and its workers run and start them again, or store the "
            "credential with the source."
        ),
    ),
    (
        r"is not one of this vendor's hosts",
        (
            "Credentials go to the vendor's own hosts only. Correct the base URL, or have the host added to "
            "the setting PORTAL_ALLOWED_VENDOR_HOSTS."
        ),
    ),
    (
        r"The base URL |is only spoken to over https",
        "Check the base URL of the source; left empty, it becomes the vendor's own.",
    ),
    (
        r"redirect",
        "Check the base URL of the source; left empty, it becomes the vendor's own.",
    ),
    (
        r"asks for fewer requests|requests a minute of \S+ are used up",
        (
            "Wait a minute. If it happens often, lower the requests a minute of the source. Failed days are "
            "tried again by themselves; nothing is lost."
        ),
    ),
    (
        r"cannot answer now",
        (
            "The vendor has a problem of its own: see its status page if it lasts. Failed days are tried "
            "again by themselves; nothing is lost."
        ),
    ),
    (
        r"refused the request \(HTTP 40[45]",
        (
            "Check the base URL of the source; left empty, it becomes the vendor's own. Something answers "
            "there, but not the vendor's API."
        ),
    ),
    (
        r"refused the request",
        (
            "The vendor understood the request and does not want it: check the base URL and the vendor's own "
            "settings of the source."
        ),
    ),
    (
        r"is the source's time zone the account's\?",
        (
            "Look up the time zone of the account at the vendor and give it to the source. Where days are "
            "held already it is fixed: then add another source with the right zone, and switch this one off."
        ),
    ),
    (
        (
            r"^Not |answer is not a page|listing does not end|none of the known metrics|A row of usage cannot be read|"
            r"is larger than|came packed|promised \d+ rows"
        ),
        (
            "Check the base URL of the source; left empty, it becomes the vendor's own. If it is right, the "
            "vendor has changed what it answers: tell whoever looks after the portal, with this sentence."
        ),
    ),
    (
        r"records were rejected",
        "See the rejected records of the day for the reasons. All others are held.",
    ),
    (
        r"a second read that agrees, or a person, decides",
        "Look at the day's two counts and accept the smaller one if it is right.",
    ),
    (
        r"Redis does not answer|did not come back before its lease ended|The log has the details|the log has the",
        ("Tell whoever looks after the portal's servers. Failed days are tried again by themselves; nothing is lost."),
    ),
    (
        r"Options of ",
        "Correct the vendor's own settings of the source.",
    ),
    (
        r"The listing changed|came again|lists the same row",
        "Failed days are tried again by themselves; nothing is lost.",
    ),
)
ADVICE: Final = tuple((re.compile(pattern), advice) for pattern, advice in SENTENCES)


def advice(reason: str) -> str:
    """Return what a person can do about an error; '' where nothing but waiting is known to help."""
    return next((found for pattern, found in ADVICE if pattern.search(reason)), "")
