# SPDX-License-Identifier: GPL-2.0-or-later
"""Pictures on the pages: matplotlib's SVG, inline, in the colours of the page's style sheet.

matplotlib takes half a second to import: only what writes pages imports this.
"""
