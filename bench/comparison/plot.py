"""Plots of a document (comparison/summary.py) as SVG: latency beside a storm of handshakes, and memory
of an idle connection. The same document gives the same bytes."""
import matplotlib

from comparison.summary import PERCENTILES

matplotlib.use("svg")
import matplotlib.pyplot as pyplot  # noqa: E402

# Ours stands out; the others are told apart by more than their colour.
STYLES = {"sallyport": ("#b2182b", "o"), "haproxy": ("#2166ac", "s"), "nginx": ("#1b7837", "^"),
          "hitch": ("#762a83", "D"), "stunnel": ("#8c510a", "v"), "plain": ("#777777", "x")}


def style(name):
    return STYLES.get(name, ("#333333", "."))


def latency(document):
    """Two panels with one scale: what is quiet at the left, what becomes of it at the right."""
    figure, axes = pyplot.subplots(1, 2, sharey=True, figsize=(9, 4.2), layout="constrained")
    panels = (("quiet", "quiet"), ("storm", "beside a storm of full handshakes"))
    for panel, (key, title) in zip(axes, panels):
        for name, found in document["latency_us"][key].items():
            colour, marker = style(name)
            panel.plot(range(len(PERCENTILES)), [found[at] for at in PERCENTILES], color=colour, marker=marker, label=name,
                       linewidth=2.5 if name == "sallyport" else 1.3)
        panel.set_title(title, fontsize=10)
        panel.set_xticks(range(len(PERCENTILES)), ["50 %", "90 %", "99 %", "99.9 %"])
        panel.set_yscale("log")
        panel.grid(axis="y", which="major", color="#dddddd")
        panel.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("µs from the intended moment to the answer")
    axes[0].legend(frameon=False, fontsize=9)
    return figure


def memory(document):
    """Bars, the smallest on top."""
    found = {name: entry["median"]
             for name, entry in document["figures"]["idle"]["contenders"].items() if name != "plain"}
    names = sorted(found, key=found.get, reverse=True)
    figure, axis = pyplot.subplots(figsize=(9, 0.6 + 0.42 * len(names)), layout="constrained")
    bars = axis.barh(names, [found[name] for name in names],
                     color=[style(name)[0] for name in names])
    axis.bar_label(bars, labels=[f"{found[name]:.1f}" for name in names], padding=4)
    axis.set_xlabel("KiB resident for each idle connection")
    axis.spines[["top", "right"]].set_visible(False)
    return figure


def draw(document, folder, name):
    """Writes the plots of the figures that were measured; [(caption, path)]."""
    plots = (("storm", "latency", latency,
              "Latency of 1 KiB requests at 7,000 a second, quiet and beside a storm of handshakes"),
             ("idle", "memory", memory, "Memory of an idle connection"))
    folder.mkdir(exist_ok=True)
    matplotlib.rcParams.update({"svg.hashsalt": name, "svg.fonttype": "none"})
    written = []
    for measured, what, make, caption in plots:
        if measured not in document["figures"]:
            continue
        figure = make(document)
        path = folder / f"{name}-{what}.svg"
        figure.savefig(path, metadata={"Date": None})
        pyplot.close(figure)
        written.append((caption, path))
    return written
