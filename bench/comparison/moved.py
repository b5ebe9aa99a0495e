"""Which figure moved between two documents. Times of different runs do not compare, ratios within a
run do: ours to the best peer, ours to the floor, and figures that are ratios themselves."""
import dataclasses

LEAST = 0.03  # what a few rounds do not show of the spread; memory has hardly any of its own
ROUNDS = 3    # fewer have no spread to speak of


@dataclasses.dataclass
class Move:
    title: str
    what: str       # "best peer", "floor" or "itself"
    old: dict       # median, min, max
    new: dict
    peers: tuple = (None, None)  # the best peer, then and now

    @property
    def change(self):
        return self.new["median"] / self.old["median"] - 1

    @property
    def moved(self):
        """The ranges have nothing in common, and the medians are further apart than LEAST. Of two
        equal runs of five rounds one figure in 126 does that; medians outside the other's range
        would be one in 21, and so one in every comparison."""
        apart = self.new["min"] > self.old["max"] or self.new["max"] < self.old["min"]
        return apart and abs(self.change) > LEAST

    @property
    def worse(self):
        return self.moved and self.change > 0


class CannotCompare(Exception):
    """Says why."""


def comparable(row):
    """What of a row can be compared with another run's."""
    found = {}
    if row["ratio"]:
        found["best peer"] = row["ratio"]
    if row["floor"] and row["floor"]["distance"]:
        found["floor"] = row["floor"]["distance"]
    if row["unit"] == "ratio" and "sallyport" in row["contenders"]:
        found["itself"] = row["contenders"]["sallyport"]
    return found


def check(old, new):
    for document, name in ((old, "old"), (new, "new")):
        if document.get("schema") != 1:
            raise CannotCompare(f"the {name} one is of another schema")
        if document["quick"]:
            raise CannotCompare(f"the {name} one is of a quick run")
        if document["rounds"] < ROUNDS:
            raise CannotCompare(f"the {name} one has {document['rounds']} rounds, and it takes "
                                f"{ROUNDS} to see a spread")
    if old["machine"]["debian"] != new["machine"]["debian"]:
        raise CannotCompare("they are of different releases of Debian: "
                            f"{old['machine']['debian']} and {new['machine']['debian']}")


def moves(old, new):
    """All that both have, moved or not. Raises CannotCompare."""
    check(old, new)
    found = []
    for name, row in new["figures"].items():
        if name not in old["figures"]:
            continue
        before = comparable(old["figures"][name])
        for what, now in comparable(row).items():
            if what in before:
                peers = (old["figures"][name]["best_peer"], row["best_peer"])
                found.append(Move(row["title"], what, before[what], now,
                                  peers if what == "best peer" else (None, None)))
    if not found:
        raise CannotCompare("they have no figure in common")
    return found


def ranged(entry):
    return f"{entry['median']:.3f} ({entry['min']:.3f}–{entry['max']:.3f})"


def describe(move):
    word = "same" if not move.moved else "WORSE" if move.worse else "better"
    text = f"{word:6} {move.title}, {'ours / ' if move.what != 'itself' else ''}{move.what}: " \
           f"{ranged(move.old)} -> {ranged(move.new)}"
    if move.peers[0] != move.peers[1]:
        text += f"; best peer was {move.peers[0]}, is {move.peers[1]}"
    return text


def report(old, new):
    """Prints every figure, those that moved first; 1 when one is worse, else 0."""
    found = sorted(moves(old, new), key=lambda move: (not move.worse, not move.moved))
    for move in found:
        print(describe(move))
    worse = sum(move.worse for move in found)
    better = sum(move.moved for move in found) - worse
    print(f"{worse} worse, {better} better, {len(found) - worse - better} where they were")
    return 1 if worse else 0
