#!/usr/bin/env python3
"""Checks that a file is a trace as the Trace Event Format has it, and that what it shows hangs together.

Usage: check_trace.py FILE [EXPRESSION]: prints what it counted; with an expression over those names it must be true.
"""
import bisect, json, sys


def main():
    document = json.load(open(sys.argv[1]))
    assert isinstance(document["traceEvents"], list) and document["displayTimeUnit"] in ("ms", "ns")
    names, processes, slices, flows = {}, {}, [], {}
    last = None
    for event in document["traceEvents"]:
        phase = event["ph"]
        assert phase in "MXsf", event
        assert isinstance(event["pid"], int) and isinstance(event["name"], str), event
        if phase == "M":
            if event["name"] == "process_name":
                assert event["pid"] not in processes
                processes[event["pid"]] = event["args"]["name"]
            if event["name"] == "thread_name":
                place = event["pid"], event["tid"]
                assert place not in names, "two names of a track"
                names[place] = event["args"]["name"]
            continue
        place = event["pid"], event["tid"]
        assert event["pid"] in processes and place in names, f"a track without a name: {event}"
        assert event["ts"] >= 0
        assert last is None or event["ts"] >= last, "not sorted by time"
        last = event["ts"]
        if phase == "X":
            assert event["dur"] >= 0 and event["cat"] in ("application", "request", "served", "disk"), event
            slices.append(event)
        else:
            flows.setdefault(event["id"], {}).setdefault(phase, []).append(event)

    # Slices of a track nest.
    tracks = {}
    for event in slices:
        tracks.setdefault((event["pid"], event["tid"]), []).append(event)
    at = {}
    for place, events in tracks.items():
        stack = []
        begins, nested = at.setdefault(place, ([], []))
        for event in sorted(events, key=lambda e: (e["ts"], -e["dur"])):
            begin, end = round(event["ts"] * 1000), round((event["ts"] + event["dur"]) * 1000)
            while stack and nested[stack[-1]][0] <= begin:
                stack.pop()
            outer = stack[-1] if stack else None
            assert outer is None or end <= nested[outer][0], f"{event} overlaps {nested[outer]} on {names[place]}"
            stack.append(len(begins))
            begins.append(begin)
            nested.append((end, event, outer))

    def around(event):
        time = round(event["ts"] * 1000)
        begins, nested = at.get((event["pid"], event["tid"]), ([], []))
        found, i = [], bisect.bisect_right(begins, time) - 1
        # What ends at this very moment is not open any more for the slices that begin at it.
        for i in range(i, max(i - 3, -1), -1):
            at_end = i
            while at_end is not None:
                end, slice, at_end = nested[at_end]
                if end >= time:
                    found.append(slice)
        assert found, f"a flow that touches no slice: {event}"
        return found

    joined = {"call": 0, "request": 0, "disk": 0}
    ends = {"call": ("application", "request"), "request": ("request", "served"), "disk": ("served", "disk")}
    for number, ends_of in flows.items():
        assert sorted(ends_of) == ["f", "s"] and all(len(e) == 1 for e in ends_of.values()), f"flow {number} has not two ends"
        begin, end = ends_of["s"][0], ends_of["f"][0]
        assert end["ts"] >= begin["ts"] and end.get("bp") == "e" and begin["name"] == end["name"]
        joined[begin["name"]] += 1
        source, target = ends[begin["name"]]
        assert any(e["cat"] == source for e in around(begin)), (begin, around(begin))
        assert any(e["cat"] == target for e in around(end)), (end, around(end))

    counted = {kind: sum(e["cat"] == kind for e in slices) for kind in ("application", "request", "served", "disk")}
    counted.update({"joined_" + name: count for name, count in joined.items()})
    counted["lost"] = sum(region["lost"] for region in document["otherData"]["regions"]) + document["otherData"]["dropped"]
    counted["processes"] = len(processes)
    print(counted)
    values = dict(counted, slices=slices, names=names, processes_named=processes, regions=document["otherData"]["regions"])
    if len(sys.argv) > 2 and not eval(sys.argv[2], values):
        sys.exit(f"not so: {sys.argv[2]}")


main()
