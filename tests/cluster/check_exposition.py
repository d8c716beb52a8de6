#!/usr/bin/env python3
"""A strict reader of Prometheus's text format: what it accepts, Prometheus does.

Usage: check_exposition.py FILE [DASHBOARD]: with a dashboard, every metric that it asks for must be in the file.
"""
import json, math, re, sys

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
SAMPLE = re.compile(r'(%s)(?:\{((?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\["\\n])*",?)*)\})? (\S+)$' % NAME)
LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)')
TYPES = ("counter", "gauge", "histogram")


def family_of(name, types):
    for suffix in ("_bucket", "_sum", "_count"):
        if name.endswith(suffix) and types.get(name[: -len(suffix)]) == "histogram":
            return name[: -len(suffix)]
    return name


def read(text):
    assert text.endswith("\n")
    types, helps, samples, ended, current = {}, {}, {}, set(), None
    for line in text[:-1].split("\n"):
        kind = re.match(r"# (HELP|TYPE) (%s) (.+)$" % NAME, line)
        if kind:
            name = kind[2]
            if kind[1] == "HELP":
                assert name not in helps and not re.search(r"\\(?![\\n])", kind[3]), line
                helps[name] = kind[3]
            else:
                assert name in helps and name not in types and kind[3] in TYPES, line
                types[name] = kind[3]
            continue
        match = SAMPLE.match(line)
        assert match, f"no sample: {line!r}"
        family = family_of(match[1], types)
        assert family in types, f"no type before {line!r}"
        if family != current:
            assert family not in ended, f"{family} comes in two pieces"
            ended.add(current)
            current = family
        labels = LABEL.findall(match[2] or "")
        assert len(dict(labels)) == len(labels), f"a label twice: {line!r}"
        key = match[1], tuple(sorted(labels))
        assert key not in samples, f"twice: {line!r}"
        value = samples[key] = float(match[3])
        assert not math.isnan(value), line
        if types[family] != "gauge":
            assert value >= 0, line
        if types[family] == "counter":
            assert family.endswith("_total"), line
    return types, samples


def check_histograms(types, samples):
    series = {}
    for (name, labels), value in samples.items():
        if name.endswith("_bucket") and types.get(name[:-7]) == "histogram":
            labels = dict(labels)
            bound = float(labels.pop("le"))
            series.setdefault((name[:-7], tuple(sorted(labels.items()))), []).append((bound, value))
    assert series, "no histogram"
    for (family, labels), buckets in series.items():
        bounds = [bound for bound, _ in buckets]
        counts = [count for _, count in buckets]
        assert bounds == sorted(set(bounds)) and bounds[-1] == math.inf, (family, labels, bounds)
        assert counts == sorted(counts), (family, labels, counts)
        assert samples[family + "_count", labels] == counts[-1], (family, labels)
        assert samples[family + "_sum", labels] >= 0
        # The sum lies between what the buckets allow.
        least = sum((counts[i] - (counts[i - 1] if i else 0)) * (bounds[i - 1] if i else 0) for i in range(len(counts)))
        assert samples[family + "_sum", labels] >= 0.98 * least, (family, labels, least)
    return len(series)


def check_dashboard(path, types):
    dashboard = json.load(open(path))
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert all(panel["targets"] and panel["title"] for panel in panels)
    asked = set(re.findall(r"benchfs_\w+", json.dumps([dashboard["templating"], [p["targets"] for p in panels]])))
    assert len(asked) > 10
    missing = {name for name in asked if family_of(name, types) not in types}
    assert not missing, f"nobody has {missing}"


def main():
    types, samples = read(open(sys.argv[1]).read())
    print(len(types), "families,", len(samples), "samples,", check_histograms(types, samples), "histograms")
    if len(sys.argv) > 2:
        check_dashboard(sys.argv[2], types)


main()
