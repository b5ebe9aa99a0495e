"""An older build of Sallyport as a contender of the same run: has a figure become worse? It runs twice,
as two contenders, since the ratio between these is what equal builds differ by in that run."""
from comparison import peers, summary, table
from comparison.figures import OURS

BEFORE, AGAIN = "before", "before-again"
ROUNDS = 7      # medians of fewer differ too much between equal builds
ALLOWED = 1.05  # ratio of medians


def contenders(binary, flags):
    return [peers.Sallyport(binary, flags, name) for name in (BEFORE, AGAIN)]


def judge(row):
    """Ratios to `before` of `again` and of `now`, as summary.over() has them, the greatest ratio that
    is allowed to `now`, and whether it is met; nothing where one of the three has no figure."""
    values = {name: entry["values"] for name, entry in row["contenders"].items()}
    if not {OURS, BEFORE, AGAIN} <= values.keys():
        return None
    again = summary.over(values[AGAIN], values[BEFORE])
    now = summary.over(values[OURS], values[BEFORE])
    if not again or not now:
        return None
    limit = max(ALLOWED, again["median"])
    return {"again": again, "now": now, "limit": limit, "met": now["median"] <= limit}


def judge_all(document):
    """By figure, those that all three have."""
    return {name: verdict for name, row in document["figures"].items() if (verdict := judge(row))}


def is_worse(document):
    """Nothing compared is no success. A quick run is not judged."""
    verdicts = document["against"].values()
    return not document["quick"] and not (verdicts and all(found["met"] for found in verdicts))


def line(document, name, verdict):
    row = document["figures"][name]
    word = "met" if verdict["met"] else "**missed**"
    return [row["title"], row["unit"], table.cell(row["contenders"][BEFORE]),
            table.ratio(verdict["again"]), table.ratio(verdict["now"]),
            "" if document["quick"] else f"≤ {verdict['limit']:.3f}: {word}"]


def render(document):
    """Each figure of the older build, and the ratios to it: median (range over the rounds)."""
    head = ["", "unit", "before", "before again / before", "now / before", "verdict"]
    rows = [head, ["---"] * len(head)]
    rows += [line(document, name, verdict) for name, verdict in document["against"].items()]
    return (f"Against an older build, {document['versions'][BEFORE]}:\n\n" +
            "\n".join("| " + " | ".join(row) + " |" for row in rows))
