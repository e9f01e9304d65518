# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -m lab`: the command line, for a lab that starts another."""

from lab.cli import main

main()
