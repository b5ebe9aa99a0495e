"""What tens of thousands of idle connections do to the others, in a guest: instructions of a request
and of a handshake beside a few, beside all of them, and beside the few again when the many are gone.
One shard has them all."""
import statistics

from comparison import held, table

WORK = ("requests-1k", "handshake")
FEW = 100
BACKENDS = 8  # addresses: one has 64,000 ports, and the last free ones are long looked for

SCRIPT = """
work() {{
{work}
}}
hold few {few} --settle 1
work few
hold many {many} --settle 1 --resume
work many
release many
sleep 70  # until nothing is left of them in the kernel, either (TIME_WAIT)
work again
release few
"""


def script(figures, connections, share, rounds):
    """`figures`: by name, those of WORK. What is held beside FEW comes by resumed handshakes, which
    take half the time; what is held then is the same."""
    lines = [f"  figure {name}-$1 {' '.join(str(word) for word in figures[name].words(share))}"
             for name in WORK for _ in range(rounds)]
    return SCRIPT.format(few=FEW, many=connections - FEW, work="\n".join(lines))


def memory_mib(connections):
    """Of the guest: both ends of both legs are in it, with their programs."""
    return 1024 + connections // 16


def result(figures, reports, connections):
    """By figure: its median beside few, beside many, beside few again, and the growth."""
    work = {}
    for name in WORK:
        values = {when: statistics.median(figures[name].values(report)["value"]
                                          for report in reports[f"{name}-{when}"])
                  for when in ("few", "many", "again")}
        work[name] = values | {"growth": held.ratio(**values)}
    few, many = reports["few"][0], reports["many"][0]
    return {"connections": connections, "work": work, "reports": reports,
            "rss": (many["rss_held_kib"] - few["rss_before_kib"]) / connections}


def rows(kernel, contender, measured, figures):
    cells = []
    for name in WORK:
        values = measured["work"][name]
        cells.append([kernel, contender, figures[name].title, figures[name].unit,
                      f"{measured['connections']:,}",
                      *(table.number(values[when]) for when in ("few", "many", "again")),
                      f"**{values['growth']:.3f}**", f"{measured['rss']:.2f}"])
    return cells


def render(document, figures):
    head = ["Linux", "", "", "unit", "held", f"beside {FEW}", "beside all", f"beside {FEW} again",
            "growth", "resident KiB per connection"]
    lines = [head, ["---"] * len(head)]
    for kernel, results in document["kernels"].items():
        for contender, measured in results.items():
            if measured:
                lines += rows(kernel, contender, measured, figures)
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
