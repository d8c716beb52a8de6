#!/usr/bin/env python3
"""Checks that a file is a trace as the Trace Event Format has it, and that what it shows hangs together.

Usage: check_trace.py FILE [EXPRESSION]: prints what it counted; with an expression over those names it must be true.
"""
import bisect, json, math, sys

# The Trace Event Format ("Trace Event Format", Google 2016): what an event of each phase has, by the type of each member.
NUMBER = (int, float)
PLACE = {"ph": str, "name": str, "pid": int, "tid": int}
MEMBERS = {
    "X": {**PLACE, "cat": str, "ts": NUMBER, "dur": NUMBER, "args": dict},
    "s": {**PLACE, "cat": str, "ts": NUMBER, "id": int},
    "f": {**PLACE, "cat": str, "ts": NUMBER, "id": int, "bp": str},
}
METADATA = {"process_name": ("name", str), "process_sort_index": ("sort_index", int), "thread_name": ("name", str), "thread_sort_index": ("sort_index", int)}


def unique(pairs):
    made = dict(pairs)
    assert len(made) == len(pairs), f"a member twice: {pairs}"
    return made


def no_number(text):
    raise AssertionError(f"{text} is not JSON")


def check_members(event):
    """Exactly the members of its phase, of their types; what is told beyond that is in args."""
    if event["ph"] == "M":
        name, kind = METADATA[event["name"]]
        wanted = {"ph": str, "name": str, "pid": int, "args": dict}
        if event["name"].startswith("thread"):
            wanted["tid"] = int
        assert set(event["args"]) == {name} and type(event["args"][name]) is kind, event
    else:
        wanted = MEMBERS[event["ph"]]
    assert set(event) == set(wanted), event
    for member, kind in wanted.items():
        assert isinstance(event[member], kind) and not isinstance(event[member], bool), (member, event)
        assert not isinstance(event[member], NUMBER) or (math.isfinite(event[member]) and event[member] >= 0), (member, event)
    for value in event.get("args", {}).values():
        assert isinstance(value, (str, int, float)), event
    assert event["ph"] not in "sf" or event["cat"] == "flow"


def main():
    document = json.load(open(sys.argv[1], encoding="utf-8"), object_pairs_hook=unique, parse_constant=no_number)
    assert set(document) == {"traceEvents", "displayTimeUnit", "otherData"}
    assert isinstance(document["traceEvents"], list) and document["displayTimeUnit"] in ("ms", "ns")
    names, processes, slices, flows = {}, {}, [], {}
    last = None
    for event in document["traceEvents"]:
        phase = event["ph"]
        assert phase in ("M", "X", "s", "f"), event
        check_members(event)
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
    # How far a time of a process may be off; and what began to be served outside the time of its request.
    errors = {i + 1: region.get("clock_error_ns", 0) / 1000 for i, region in enumerate(document["otherData"]["regions"])}
    disordered = 0
    ends = {"call": ("application", "request"), "request": ("request", "served"), "disk": ("served", "disk")}
    for number, ends_of in flows.items():
        assert sorted(ends_of) == ["f", "s"] and all(len(e) == 1 for e in ends_of.values()), f"flow {number} has not two ends"
        begin, end = ends_of["s"][0], ends_of["f"][0]
        assert end["ts"] >= begin["ts"] and end.get("bp") == "e" and begin["name"] == end["name"]
        joined[begin["name"]] += 1
        source, target = ends[begin["name"]]
        assert any(e["cat"] == source for e in around(begin)), (begin, around(begin))
        assert any(e["cat"] == target for e in around(end)), (end, around(end))
        if begin["name"] == "request":
            slack = errors.get(end["pid"], 0) + errors.get(begin["pid"], 0) + 100
            disordered += not any(c["ts"] - slack <= s["ts"] <= c["ts"] + c["dur"] + slack
                                  for c in around(begin) if c["cat"] == source for s in around(end) if s["cat"] == target)

    counted = {kind: sum(e["cat"] == kind for e in slices) for kind in ("application", "request", "served", "disk")}
    counted.update({"joined_" + name: count for name, count in joined.items()})
    counted["disordered"] = disordered
    counted["lost"] = sum(region["lost"] for region in document["otherData"]["regions"]) + document["otherData"]["dropped"]
    counted["processes"] = len(processes)
    print(counted)
    values = dict(counted, slices=slices, names=names, processes_named=processes, regions=document["otherData"]["regions"])
    if len(sys.argv) > 2 and not eval(sys.argv[2], values):
        sys.exit(f"not so: {sys.argv[2]}")


main()
