"""Data folders with a migrated database, for tests with servers of their own: copies of one template."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from portal.embedded import Services
from portal.embedded.paths import DataFolder
from portal.environment import BASE_DIR
from tests.support.servers import TEMPLATE_PREFIX, name_template

SECRETS = "secrets.json"


def copy_migrated(folder: Path) -> Services:
    """Create a data folder whose database the owner of the audit log migrated; its servers do not run yet."""
    services = Services(folder)
    home = services.home
    home.create_root()
    home.create_servers()
    data, _ = prepare_template()
    # With the owner of the files, who is that of the servers.
    subprocess.run(["cp", "-a", data, home.servers], check=True)
    shutil.copy(data.parent / SECRETS, home.root)
    return services


def prepare_template() -> tuple[Path, str]:
    """Return the data directory that is copied, and its superuser's password; the first process makes it.

    It is kept for later runs, beside the files of the tests' own servers, and is deleted with them.
    """
    home = DataFolder(BASE_DIR / "var" / "tests")
    home.create_root()
    with (home.root / "template.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        home.create_servers()
        template = home.servers / name_template()
        if not template.is_dir():
            for old in home.servers.glob(f"{TEMPLATE_PREFIX}*"):
                shutil.rmtree(old)
            create_template(template)
        return template / "postgres", json.loads((template / SECRETS).read_text())["postgres"]


def create_template(template: Path) -> None:
    """Migrate a database of a new data folder, and keep its files."""
    with tempfile.TemporaryDirectory(prefix="portal-template-") as name:
        Path(name).chmod(0o711)
        services = Services(Path(name, "data"))
        try:
            variables = os.environ | services.start() | services.generated_keys | {"PORTAL_IGNORE_DOTENV": "1"}
            migrate = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
            subprocess.run(migrate, cwd=BASE_DIR, env=variables, check=True, stdout=subprocess.DEVNULL)
            services.stop()
            unfinished = template.with_suffix(".unfinished")
            unfinished.mkdir()
            subprocess.run(["cp", "-a", services.home.servers / "postgres", unfinished], check=True)
            shutil.copy(services.home.root / SECRETS, unfinished)
            unfinished.rename(template)
        finally:
            services.remove()
