# SPDX-License-Identifier: GPL-2.0-or-later
"""What `import lab` offers (lab/__init__.py names it), and the pytest plugin.

It is made of the other rooms, and none of them knows of it.
"""
