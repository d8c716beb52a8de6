#!/bin/bash
# Prints what a header of libbenchfs declares, as macros: HAVE_benchfs_link 1. Usage: provided.sh HEADER
set -euo pipefail
echo "#pragma once"
grep -oE '\bbenchfs_[a-z0-9_]+\(' "$1" | tr -d '(' | sort -u | sed 's/.*/#define HAVE_& 1/'
