"""PostgreSQL clusters of tests: copied from one `initdb`, and quick because their data need not survive a crash."""

import shutil
import subprocess
from pathlib import Path

from service.standalone.embedded_postgres import EmbeddedPostgres

# No test that uses such a server lets it crash and reads its data afterwards. Vacuuming hundreds of databases that
# live for a second each is wasted work.
QUICK = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "autovacuum": "off",
    "max_wal_size": "4GB",
}


class ClusterSeed(EmbeddedPostgres):
    """A cluster that was made by `initdb` and never started. Tests copy it, which takes a tenth of the time."""

    def create(self) -> None:
        """Run `initdb`."""
        self.home.mkdir(parents=True)
        self._create()
        assert self.password  # it is kept beside the data, and copied with it

    def copy_to(self, home: Path) -> Path:
        """Copy the cluster and its password.

        Args:
            home: The folder to copy to, which must not exist.

        Returns:
            The same folder.
        """
        home.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(home, ignore_errors=True)
        subprocess.run(["cp", "-a", str(self.home), str(home)], check=True)
        return home
