"""Which update of a route is taken. Pure: no file, no clock, no source."""
import dataclasses

from .endpoint import Invalid, merge


@dataclasses.dataclass(frozen=True)
class Limits:
    allow_empty: bool = False
    max_removal_percent: int = 100


def refusal(had, count, limits):
    """Why a route that had `had` targets may not have `count` now; None: it may. As the gateway's
    --discovery-allow-empty and --discovery-max-removal have it."""
    if had and not count:
        return None if limits.allow_empty else f"would be left with none of its {had} targets"
    if (had - count) * 100 > limits.max_removal_percent * had:
        return f"would have {count} targets instead of {had}"
    return None


def judge(had, parts, limits):
    """(endpoints, why not) of a route. `had`: those in force; `parts`: what each thing that feeds
    the route says, endpoints or Invalid. With a reason against it `had` stays."""
    try:
        for part in parts:
            if isinstance(part, Invalid):
                raise part
        new = merge(endpoint for part in parts for endpoint in part)
    except Invalid as invalid:
        return had, str(invalid)
    why = refusal(len(had), len(new), limits)
    return (had, why) if why else (new, None)


def difference(had, new):
    """(added, removed, changed) between two tuples of endpoints: targets, of the changed ones with
    their state and weight."""
    before = {endpoint.target: endpoint for endpoint in had}
    after = {endpoint.target: endpoint for endpoint in new}
    return ([target for target in after if target not in before],
            [target for target in before if target not in after],
            [f"{target} {one.state} {one.weight}" for target, one in after.items()
             if target in before and one != before[target]])
