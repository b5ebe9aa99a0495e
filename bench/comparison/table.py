"""A document (comparison/summary.py) as Markdown."""
from comparison.figures import OURS


def number(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def cell(entry):
    """Median (minimum–maximum)."""
    if not entry:
        return ""
    if entry["min"] == entry["max"]:
        return number(entry["median"])
    return f"{number(entry['median'])} ({number(entry['min'])}–{number(entry['max'])})"


def ratio(entry):
    if not entry:
        return ""
    if len(entry["rounds"]) == 1:
        return f"**{entry['median']:.2f}**"
    return f"**{entry['median']:.2f}** ({entry['min']:.2f}–{entry['max']:.2f})"


def best(row):
    return f"{ratio(row['ratio'])} {row['best_peer']}" if row["ratio"] else ""


def verdict(target, unit):
    """A median below the limit is not the whole story where some rounds lay on the other side."""
    word = "met" if target["met"] else "**missed**"
    if target["rounds_met"] not in (0, target["rounds"]):
        word += f", {target['rounds_met']} of {target['rounds']} rounds below"
    what = {"best peer": "", "floor": "floor × ", "itself": ""}[target["against"]]
    unit = f" {unit}" if target["against"] == "itself" and unit != "ratio" else ""
    return f"≤ {what}{target['limit']:g}{unit}: {word}"


def verdicts(document, row):
    if document["quick"]:
        return ""
    return "; ".join(verdict(target, row["unit"]) for target in row["targets"])


def columns(document):
    """Contenders in the order in which they ran, those that have a figure."""
    return [name for name in document["versions"]
            if any(name in row["contenders"] for row in document["figures"].values())]


def caption(document):
    machine = document["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in document["versions"].items())
    return (f"{machine['cpu']}, Linux {machine['kernel']}, Debian {machine['debian']}, "
            f"{machine['openssl']}; {versions}. {document['rounds']} rounds.")


def render(document):
    """Median (range over the rounds) of each contender; ours to the best peer for that row and to
    the floor, each with its range over the rounds; the target, and whether it is met."""
    names = columns(document)
    ours = OURS in names
    head = ["", "unit", *names]
    if ours:
        head += ["ours / best peer", "ours / floor", "target"]
    rows = [head, ["---"] * len(head)]
    for row in document["figures"].values():
        line = [row["title"], row["unit"], *(cell(row["contenders"].get(name)) for name in names)]
        if ours:
            line += [best(row), ratio(row["floor"] and row["floor"]["distance"]), verdicts(document, row)]
        rows.append(line)
    text = caption(document)
    if document["quick"]:
        text += "\n\nA quick run: it shows that everything works. Its figures say nothing."
    return text + "\n\n" + "\n".join("| " + " | ".join(row) + " |" for row in rows)
