"""Reservations that a dead Ray Train group leaves behind; they would hold processors for ever.

Ray frees a placement group when its maker and the maker's job have both ended. A group's maker is
its controller, which dies with its trial, while the job is the whole study. Ray's own cleaner needs
the dashboard.
"""

import ray
from ray.util import remove_placement_group
from ray.util.placement_group import PlacementGroup

_NOBODY = b"\xff"


def leaked_groups() -> list[PlacementGroup]:
    """Placement groups of this job that were made by an actor which is dead.

    Reads Ray's own table, since its public one does not say who made a group. Where Ray has moved
    that table the answer is empty: Ray's cleaner and the watchdog are left.
    """
    try:
        return _read_table()
    except (ImportError, AttributeError, ValueError):
        return []


def _read_table() -> list[PlacementGroup]:
    from ray._raylet import PlacementGroupID
    from ray.core.generated.gcs_pb2 import PlacementGroupTableData as Row

    job, removed = ray.get_runtime_context().get_job_id(), Row.PlacementGroupState.Value("REMOVED")
    rows = ray._private.state.state._connect_and_get_accessor().get_placement_group_table()
    return [
        PlacementGroup(PlacementGroupID(row.placement_group_id))
        for row in map(Row.FromString, rows)
        if row.creator_actor_id.strip(_NOBODY)  # a driver's have no actor
        and row.creator_actor_dead
        and row.state != removed
        and row.creator_job_id.hex() == job
    ]


def reap() -> int:
    """Remove what is leaked; how many there were."""
    groups = leaked_groups()
    for group in groups:
        remove_placement_group(group)
    return len(groups)
