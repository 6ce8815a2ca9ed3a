"""The file system of the lake: pyarrow's of a folder, S3, Google Cloud Storage or Azure, by the scheme."""

from base64 import b64decode
from urllib.parse import urlsplit

from pyiceberg.io import ADLS_ACCOUNT_KEY, ADLS_ACCOUNT_NAME, ADLS_SAS_TOKEN, WAREHOUSE
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.typedef import EMPTY_DICT, Properties

from usage.lake import LakeUnavailable


class LakeFileIO(PyArrowFileIO):
    """Files by their addresses; those of Azure are `abfss://container@account.dfs.core.windows.net/path`."""

    @staticmethod
    def parse_location(location: str, properties: Properties = EMPTY_DICT) -> tuple[str, str, str]:
        """Return scheme, host and path; pyiceberg takes all of `container@account…` for the container."""
        scheme, host, path = PyArrowFileIO.parse_location(location, properties)
        container, at, _ = host.partition("@")
        return (scheme, container, container + path.removeprefix(host)) if at else (scheme, host, path)


def get_account(url: str) -> dict[str, str]:
    """Return the property with the account that an address of Azure names, {} for any other address."""
    _, at, host = urlsplit(url).netloc.partition("@")
    return {ADLS_ACCOUNT_NAME: host.partition(".")[0]} if at else {}


def check_properties(properties: Properties) -> None:
    """Raise LakeUnavailable for an account or credentials of Azure that are no use."""
    if properties[WAREHOUSE].startswith("abfss:") and not properties.get(ADLS_ACCOUNT_NAME):
        raise LakeUnavailable(
            "PORTAL_LAKE_URL names no account of Azure: set it like abfss://container@account.dfs.core.windows.net/lake."
        )
    if properties.get(ADLS_SAS_TOKEN):
        # It is a part of the addresses that these errors name.
        raise LakeUnavailable(f"{ADLS_SAS_TOKEN} is refused: errors of Azure would show it. Set {ADLS_ACCOUNT_KEY}.")
    try:
        b64decode(properties.get(ADLS_ACCOUNT_KEY) or "", validate=True)
    except ValueError:
        # Azure's library ends the process that reads with such a key.
        raise LakeUnavailable(f"{ADLS_ACCOUNT_KEY} is not a key of Azure: it is not Base64.") from None
