"""A histogram of a Prometheus page (text format): parsed, subtracted, and asked for quantiles."""
import dataclasses
import math
import re

SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)")
LE = re.compile(r'(?:^|,)le="([^"]*)"')


@dataclasses.dataclass
class Histogram:
    buckets: dict  # upper bound: how many are not above it
    sum: float
    count: int

    def __sub__(self, earlier):
        """What came since."""
        return Histogram({bound: count - earlier.buckets.get(bound, 0)
                          for bound, count in self.buckets.items()},
                         self.sum - earlier.sum, self.count - earlier.count)

    def mean(self):
        return self.sum / self.count if self.count else math.nan

    def bounds(self, fraction):
        """Bounds of the bucket in which the quantile lies."""
        lower = 0.0
        for bound in sorted(self.buckets):
            if self.buckets[bound] >= fraction * self.count:
                return lower, bound
            lower = bound
        return lower, math.inf

    def quantile(self, fraction):
        """As histogram_quantile of Prometheus has it: linear within the bucket; of the last one, its
        lower bound."""
        if not self.count:
            return math.nan
        lower, upper = self.bounds(fraction)
        if math.isinf(upper):
            return lower
        below = self.buckets.get(lower, 0)
        return lower + (upper - lower) * ((fraction * self.count - below) /
                                          (self.buckets[upper] - below))


def parse(page, name):
    """The sum over all labels but `le`. Raises KeyError when the page has no such histogram."""
    whole = Histogram({}, 0.0, 0)
    found = False
    for line in page.splitlines():
        sample = SAMPLE.match(line)
        if not sample:
            continue
        metric, labels, value = sample[1], sample[2] or "", float(sample[3])
        if metric == name + "_bucket":
            bound = float(LE.search(labels)[1].replace("+Inf", "inf"))
            whole.buckets[bound] = whole.buckets.get(bound, 0) + value
        elif metric == name + "_sum":
            whole.sum += value
        elif metric == name + "_count":
            whole.count += int(value)
            found = True
    if not found:
        raise KeyError(name)
    return whole
