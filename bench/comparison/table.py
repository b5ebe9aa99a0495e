"""Medians, spread and ratios, for people and for programs."""
import statistics


def values(results, figure, peer):
    return [run["value"] for run in results[figure.name][peer.name] if run]


def summary(results, contenders, figures):
    """{figure: {peer: {median, min, max, runs, ratio}}}; ratio: ours to the peer, of the medians, and
    its range over the rounds."""
    document = {}
    for figure in figures:
        row = document[figure.name] = {}
        for peer in contenders:
            runs = values(results, figure, peer)
            if runs:
                row[peer.name] = {"median": statistics.median(runs), "min": min(runs),
                                  "max": max(runs), "runs": len(runs)}
        ours = contenders[0]
        for peer in contenders[1:]:
            if ours.name != "sallyport" or peer.name not in row or ours.name not in row:
                continue
            rounds = [mine["value"] / its["value"] for mine, its in
                      zip(results[figure.name][ours.name], results[figure.name][peer.name])
                      if mine and its]
            row[peer.name]["ratio"] = row[ours.name]["median"] / row[peer.name]["median"]
            row[peer.name]["ratio_range"] = [min(rounds), max(rounds)] if rounds else None
    return document


def number(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def cell(entry):
    if not entry:
        return "–"
    if entry["runs"] == 1:
        return number(entry["median"])
    return f"{number(entry['median'])} ({number(entry['min'])}–{number(entry['max'])})"


def ratio(entry):
    if not entry or "ratio" not in entry:
        return ""
    low, high = entry["ratio_range"] or (0, 0)
    return f"**{entry['ratio']:.2f}** ({low:.2f}–{high:.2f})"


def render(document, contenders, figures):
    """A Markdown table: median (minimum–maximum), and our ratio to each peer (range over rounds)."""
    ours, others = contenders[0], contenders[1:]
    with_ratio = ours.name == "sallyport"
    head = ["", "unit", ours.name]
    for peer in others:
        head.append(peer.name)
        if with_ratio:
            head.append("ours / " + peer.name)
    rows = [head, ["---"] * len(head)]
    for figure in figures:
        entries = document["figures"][figure.name]
        row = [figure.title, figure.unit, cell(entries.get(ours.name))]
        for peer in others:
            row.append(cell(entries.get(peer.name)))
            if with_ratio:
                row.append(ratio(entries.get(peer.name)))
        rows.append(row)
    machine = document["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in document["versions"].items())
    title = f"{machine['cpu']}, Linux {machine['kernel']}, {machine['openssl']}; {versions}"
    return title + "\n\n" + "\n".join("| " + " | ".join(row) + " |" for row in rows)
