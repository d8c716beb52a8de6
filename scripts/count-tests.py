#!/usr/bin/env python3
"""Counts single test cases in Meson's test logs and prints "N passed, N failed, N skipped".

usage: count-tests.py [--failed N] testlog.json...

A test that speaks TAP counts with each of its cases; one that ends badly without saying which case failed (a crash, a
timeout) counts as one failure more. --failed adds failures from elsewhere. Exits with 1 if anything failed or nothing ran."""

import argparse
import json
import re
import sys

TAP_LINE = re.compile(r"^(not )?ok\b[^#\n]*(#\s*skip)?", re.IGNORECASE | re.MULTILINE)
GOOD = {"OK", "EXPECTEDFAIL"}


def count(test):
    passed = failed = skipped = 0
    for not_ok, skip in TAP_LINE.findall(test.get("stdout") or ""):
        if skip:
            skipped += 1
        elif not_ok:
            failed += 1
        else:
            passed += 1
    if test["result"] == "SKIP" and passed + skipped == 0:
        skipped = 1
    elif test["result"] in GOOD and passed + skipped == 0:
        passed = 1
    elif test["result"] not in GOOD | {"SKIP"} and failed == 0:
        failed = 1
    return passed, failed, skipped


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--failed", type=int, default=0)
    parser.add_argument("logs", nargs="*")
    arguments = parser.parse_args()

    totals = [0, arguments.failed, 0]
    for log in arguments.logs:
        try:
            with open(log, encoding="utf-8", errors="replace") as lines:
                tests = [json.loads(line) for line in lines]
        except (OSError, ValueError) as error:
            print(f"{log}: {error}")
            tests = [{"result": "ERROR"}]
        for test in tests:
            counts = count(test)
            if counts[1] > 0:
                print(f"FAILED {log.split('/')[0]}: {test.get('name', 'unreadable log')}")
            totals = [total + number for total, number in zip(totals, counts)]
    print("{} passed, {} failed, {} skipped".format(*totals))
    return 1 if totals[1] > 0 or sum(totals) == 0 else 0


sys.exit(main())
