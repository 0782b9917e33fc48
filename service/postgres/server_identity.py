"""Identifies a server's history, and whether another server has superseded it."""

from typing import NamedTuple, Self

# Identifies the history within which transaction ids and loan versions are comparable. Parts: database oid, system
# identifier, WAL timeline, and the time of the last statistics reset. Postgres resets statistics when it recovers from
# a crash, and keeps them otherwise. A primary reports the timeline that it writes, which a promotion changes
# immediately. A replica reports the timeline that it has replayed for certain, which it records with some delay; a
# replica that has diverged from the primary stays on the old timeline. A replica's id is a prefix of its primary's.
CLUSTER_ID = """
    concat_ws('.', (SELECT oid FROM pg_database WHERE datname = current_database()),
              (SELECT system_identifier FROM pg_control_system()),
              CASE WHEN pg_is_in_recovery()
                  THEN lpad(upper(to_hex(greatest((SELECT timeline_id FROM pg_control_checkpoint()),
                                                  (SELECT min_recovery_end_timeline FROM pg_control_recovery())))),
                            8, '0')
                  ELSE left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)
                       || '.' || coalesce((SELECT extract(epoch FROM stats_reset)::text FROM pg_stat_bgwriter), '')
              END)
"""


class ServerIdentity(NamedTuple):
    """What a server was when a session began.

    Attributes:
        system: The system identifier, which `initdb` makes and replicas share with their primary.
        wal_timeline: The WAL timeline, which each promotion increases.
        is_replica: Whether the server is a replica.
    """

    system: str
    wal_timeline: int
    is_replica: bool

    @classmethod
    def parse(cls, cluster: str, is_replica: bool) -> Self:
        """Parse a value of CLUSTER_ID."""
        _, system, wal_timeline, *_ = cluster.split(".")
        return cls(system, int(wal_timeline, 16), is_replica)
