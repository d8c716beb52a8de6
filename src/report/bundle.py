#!/usr/bin/env python3
"""Puts the report's page together and turns it into C.

    bundle.py OUTPUT.c D3-DIRECTORY TEMPLATE STYLE LICENSE MODULE SCRIPT.js...

D3-DIRECTORY has d3-NAME/dist/d3-NAME.min.js for each module in MODULE, a list separated by commas whose order is that
of their dependencies. The scripts become one closed function behind them. The template's policy lets only this one
script run, by its hash: what a result file says cannot run even if it got out of its quotes. Where @DATA@ stands the
page is cut in two: benchfs report writes the data between both parts.
"""
import base64
import hashlib
import html
import pathlib
import sys


def c_array(name, data):
    rows = [','.join(str(byte) for byte in data[at:at + 40]) for at in range(0, len(data), 40)]
    return (f'const unsigned char {name}[] = {{\n' + ',\n'.join(rows) + '\n};\n'
            f'const size_t {name}_length = sizeof({name});\n')


def main():
    output, d3, template, style, license_file, modules = sys.argv[1:7]
    libraries = [pathlib.Path(d3, f'd3-{name}', 'dist', f'd3-{name}.min.js').read_text(encoding='utf-8')
                 for name in modules.split(',')]
    own = [pathlib.Path(path).read_text(encoding='utf-8') for path in sys.argv[7:]]
    script = '\n'.join(libraries) + "\n(() => {\n'use strict';\n" + '\n'.join(own) + '\n})();\n'
    if '</script' in script.lower() or '<!--' in script:
        sys.exit('bundle.py: a script ends its own element')
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    parts = {
        '@SCRIPT-HASH@': f"'sha256-{digest}'",
        '@STYLE@': pathlib.Path(style).read_text(encoding='utf-8').strip(),
        '@LICENSE@': html.escape(pathlib.Path(license_file).read_text(encoding='utf-8').strip()),
    }
    page = pathlib.Path(template).read_text(encoding='utf-8')
    for marker, text in parts.items():
        page = page.replace(marker, text)
    page = page.replace('@SCRIPT@', script)
    head, tail = page.split('@DATA@')
    pathlib.Path(output).write_text('/* Made by bundle.py. */\n#include "report/page.h"\n\n' + c_array('report_page_head', head.encode()) +
                                    '\n' + c_array('report_page_tail', tail.encode()), encoding='utf-8')


main()
