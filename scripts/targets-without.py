#!/usr/bin/env python3
"""What ninja has to make for all tests but those of some suites.

Usage: targets-without.py BUILD-DIRECTORY SUITE...: prints, one a line, all programs, libraries and generated files, less the
programs that only tests of these suites run.
"""
import json, os, subprocess, sys


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def programs(tests, directory):
    """What the tests run that was made for them, as ninja calls it; Meson writes it relative to the build directory or with its
    whole path."""
    words = {os.path.relpath(os.path.join(directory, word), directory) for test in tests for word in test['cmd']}
    return {word for word in words if word.startswith('tests/')}


def main():
    directory, left_out = os.path.abspath(sys.argv[1]), {'benchfs:' + suite for suite in sys.argv[2:]}
    tests = json.loads(output('meson', 'introspect', '--tests', directory))
    unwanted = programs([test for test in tests if left_out & set(test['suite'])], directory)
    unwanted -= programs([test for test in tests if not left_out & set(test['suite'])], directory)
    for line in output('ninja', '-C', directory, '-t', 'targets', 'all').splitlines():
        name, _, rule = line.rpartition(': ')
        made = rule in ('c_LINKER', 'cpp_LINKER') or rule == 'CUSTOM_COMMAND' and not name.startswith('meson-internal__')
        if made and name not in unwanted:
            print(name)


if __name__ == '__main__':
    main()
