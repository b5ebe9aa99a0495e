"""From runs to figures: medians, spread, the best peer, the floor, and what became of the targets.
Pure: what goes in came from a run or from a file."""
import statistics

from comparison.figures import BEST_OF, FLOOR, OURS

SCHEMA = 1  # of the document; see bench/README.md
PERCENTILES = ("p50", "p90", "p99", "p999")


def spread(values):
    """Median and range of what was measured; nothing when nothing was."""
    good = [value for value in values if value is not None]
    if not good:
        return None
    return {"median": statistics.median(good), "min": min(good), "max": max(good)}


def over(ours, others):
    """Our ratio to others: of the medians, and its range over the rounds in which both are there."""
    mine, its = spread(ours), spread(others)
    rounds = [a / b for a, b in zip(ours, others) if a is not None and b is not None]
    if not rounds:
        return None
    return {"median": mine["median"] / its["median"], "min": min(rounds), "max": max(rounds),
            "rounds": rounds}


def best_peer(values):
    """Of those that count: whose median is least. `values`: by contender, one a round."""
    medians = {name: spread(values[name])["median"] for name in BEST_OF
               if name in values and spread(values[name])}
    return min(medians, key=medians.get) if medians else None


def floor(figure, relays, crypto):
    """A cost from below for every contender, one a round: the plain relay's figure and the cryptography.
    `relays`: what the relay spent, one a round; `crypto`: the reports of mode `crypto`."""
    if figure.crypto is None or not relays:
        return None
    return [None if relay is None or not costs else
            relay + sum(costs[key] for key in figure.crypto)
            for relay, costs in zip(relays, crypto)]


def judge(target, debian, row):
    """Whether ours keeps below the limit: by the median, and in how many rounds."""
    measured = {"best peer": row["ratio"], "floor": row["floor"] and row["floor"]["distance"],
                "itself": row["contenders"].get(OURS)}[target.against]
    limit = target.limit_on(debian)
    if not measured or limit is None:
        return None
    rounds = [value for value in measured.get("rounds") or measured["values"] if value is not None]
    return {"against": target.against, "limit": limit, "value": measured["median"],
            "met": measured["median"] <= limit,
            "rounds_met": sum(value <= limit for value in rounds), "rounds": len(rounds)}


def row(figure, values, floors, held, debian):
    """One figure of the document. `values`: by contender, one a round, None where a run failed.
    `floors`: what floor() says."""
    entry = {"title": figure.title.format(held=f"{held:,}"), "unit": figure.unit, "contenders": {},
             "best_peer": None, "ratio": None, "floor": None, "targets": []}
    for name, runs in values.items():
        if spread(runs):
            entry["contenders"][name] = {**spread(runs), "values": runs}
    if OURS not in entry["contenders"]:
        return entry
    best = best_peer(values)
    if best and figure.unit != "ratio":  # a ratio of ratios says little
        entry["best_peer"] = best
        entry["ratio"] = over(values[OURS], values[best])
    if floors and spread(floors):
        entry["floor"] = {**spread(floors), "distance": over(values[OURS], floors)}
    entry["targets"] = [verdict for target in figure.targets
                        if (verdict := judge(target, debian, entry))]
    return entry


def percentiles(runs, key):
    """Medians over the rounds of what the reports say under `key`: by contender and percentile, µs."""
    found = {}
    for name, rounds in runs.items():
        reports = [run["report"][key] for run in rounds if run]
        if reports:
            found[name] = {percentile: statistics.median(report[percentile] for report in reports)
                           for percentile in PERCENTILES}
    return found


def document(figures, results, crypto, held, machine, **more):
    """`results`: by figure and contender the runs, as Bench.rounds has them."""
    values = {figure: {name: [run and run["value"] for run in runs]
                       for name, runs in contenders.items()}
              for figure, contenders in results.items()}
    rows = {}
    for figure in figures:
        relays = values.get(figure.relay or figure.name, {}).get(FLOOR)
        rows[figure.name] = row(figure, values[figure.name], floor(figure, relays, crypto), held,
                                machine["debian"])
    whole = {"schema": SCHEMA, "machine": machine, **more, "figures": rows}
    if "storm" in results:
        whole["latency_us"] = {"quiet": percentiles(results["storm"], "quiet_latency_us"),
                               "storm": percentiles(results["storm"], "storm_latency_us")}
    return whole
