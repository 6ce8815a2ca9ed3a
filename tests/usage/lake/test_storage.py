"""Where the lake's files are: addresses of buckets and containers, and credentials that nobody gets to see."""

from typing import Any

import pytest

from portal.lake import is_location
from usage.lake import LakeUnavailable
from usage.lake.storage import LakeFileIO, check_properties, get_account


@pytest.mark.parametrize(
    ("location", "scheme", "path"),
    [
        ("file:///srv/lake/usage/days", "file", "/srv/lake/usage/days"),
        ("s3://bucket/some/lake", "s3", "bucket/some/lake"),
        ("gs://bucket/some/lake", "gs", "bucket/some/lake"),
        ("abfss://container/some/lake", "abfss", "container/some/lake"),
        ("abfss://container@account.dfs.core.windows.net/some/lake", "abfss", "container/some/lake"),
    ],
)
def test_an_address_names_the_bucket_and_the_path_in_it(location: str, scheme: str, path: str) -> None:
    assert is_location(location)
    assert LakeFileIO.parse_location(location)[::2] == (scheme, path)


@pytest.mark.parametrize("properties", [{"adls.sas-token": "sig=secret"}, {"adls.account-key": "secret!"}])
def test_credentials_that_errors_would_show_or_that_end_the_process_are_refused(properties: Any) -> None:
    with pytest.raises(LakeUnavailable, match="|".join(properties)) as error:
        check_properties({"warehouse": "file:///srv/lake", **properties})
    assert "secret" not in str(error.value)
    check_properties({"warehouse": "file:///srv/lake", "adls.account-key": "c2VjcmV0"})


def test_an_address_of_azure_names_its_account_or_the_setting_does() -> None:
    short_url, full_url = "abfss://container/some/lake", "abfss://container@account.dfs.core.windows.net/some/lake"
    assert get_account(full_url) == {"adls.account-name": "account"}
    assert get_account(short_url) == get_account("s3://bucket/lake") == {}
    with pytest.raises(LakeUnavailable, match="abfss://container@account"):
        check_properties({"warehouse": short_url})
    check_properties({"warehouse": short_url, "adls.account-name": "account"})
