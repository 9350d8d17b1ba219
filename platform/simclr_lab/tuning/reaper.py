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
        from ray._raylet import PlacementGroupID
        from ray.core.generated.gcs_pb2 import PlacementGroupTableData as Table

        rows = ray._private.state.state._connect_and_get_accessor().get_placement_group_table()
    except (ImportError, AttributeError):
        return []
    job = ray.get_runtime_context().get_job_id()
    found = []
    for raw in rows:
        row = Table.FromString(raw)
        by_an_actor = bool(row.creator_actor_id.strip(_NOBODY))
        alive = row.state != Table.PlacementGroupState.Value("REMOVED")
        if by_an_actor and row.creator_actor_dead and alive and row.creator_job_id.hex() == job:
            found.append(PlacementGroup(PlacementGroupID(row.placement_group_id)))
    return found


def reap() -> int:
    """Remove what is leaked; how many there were."""
    groups = leaked_groups()
    for group in groups:
        remove_placement_group(group)
    return len(groups)
