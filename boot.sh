#!/bin/sh
# Makes ./configure from configure.ac and the Makefile fragments.
cd "$(dirname "$0")" && exec autoreconf --force --install --warnings=all
