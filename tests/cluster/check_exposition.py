#!/usr/bin/env python3
"""A strict reader of Prometheus's text format: what it accepts, Prometheus does.

Usage: check_exposition.py FILE [DASHBOARD [RULES]]: with a dashboard, every metric that it asks for must be in the file,
with the labels that it asks by. Its questions go into RULES as rules that promtool can check.
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


SELECTOR = re.compile(r'(benchfs_\w+)(?:\{([^}]*)\})?')
MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"([^"]*)"')


def check_question(question, types, samples):
    """Labels that no sample has select nothing, and would leave a panel empty; so would a value."""
    made, by = set(), re.findall(r"\bby \(([^)]*)\)", question)
    for name, matchers in SELECTOR.findall(question):
        own = [dict(labels) for sampled, labels in samples if sampled == name]
        assert own, f"nobody has {name}: {question}"
        assert types[family_of(name, types)] != "counter" or re.search(r"(rate|increase)\(" + name, question), f"a counter as it is: {question}"
        for label, way, value in MATCHER.findall(matchers):
            values = {labels[label] for labels in own if label in labels}
            assert values, f"{name} has no label {label}: {question}"
            assert way != "=" or value in values, f"{name} has no {label} {value}: {question}"
        made.update(label for labels in own for label in labels)
    for label in re.split(r"\s*,\s*", ",".join(by)) if by else []:
        assert label in made, f"there is no label {label}: {question}"


def check_unit(question, unit):
    """What one axis shows is of its unit: bytes, or bytes a second."""
    if unit in ("bytes", "binBps"):
        assert re.search(r"_bytes\b|_bytes_total\b", question), f"no bytes: {question}"
        assert (unit == "binBps") == ("rate(" in question), f"not {unit}: {question}"


def write_rules(path, questions):
    """$server is any, and the interval that Grafana chooses one that is long enough."""
    rules = [{"record": f"dashboard:question{i}", "expr": question.replace("$__rate_interval", "5m").replace("$server", ".*")}
             for i, question in enumerate(questions)]
    json.dump({"groups": [{"name": "dashboard", "rules": rules}]}, open(path, "w"))  # which is YAML as well


def check_dashboard(path, types, samples, rules):
    dashboard = json.load(open(path))
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert all(panel["targets"] and panel["title"] for panel in panels)
    asked = set(re.findall(r"benchfs_\w+", json.dumps([dashboard["templating"], [p["targets"] for p in panels]])))
    assert len(asked) > 10
    missing = {name for name in asked if family_of(name, types) not in types}
    assert not missing, f"nobody has {missing}"
    questions = [target["expr"] for panel in panels for target in panel["targets"]]
    for question in questions:
        check_question(question, types, samples)
    for panel in panels:
        unit = panel["fieldConfig"]["defaults"].get("unit")
        assert unit, f"no unit: {panel['title']}"
        for target in panel["targets"]:
            check_unit(target["expr"], unit)
    if rules:
        write_rules(rules, questions)


def main():
    types, samples = read(open(sys.argv[1]).read())
    print(len(types), "families,", len(samples), "samples,", check_histograms(types, samples), "histograms")
    if len(sys.argv) > 2:
        check_dashboard(sys.argv[2], types, samples, sys.argv[3] if len(sys.argv) > 3 else None)


main()
