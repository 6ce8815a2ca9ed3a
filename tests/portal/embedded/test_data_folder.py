"""A data folder that cannot be used."""

from pathlib import Path

import pytest

from portal.embedded import ServiceError, Services


@pytest.mark.parametrize("name", ["file", "file/inside"])
def test_a_data_folder_that_cannot_be_used_is_refused_with_what_to_set(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ServiceError, match=r"Not a directory.*Set PORTAL_DATA_DIR to a folder"):
        Services(tmp_path / name).start()
