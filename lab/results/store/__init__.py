# SPDX-License-Identifier: GPL-2.0-or-later
"""The store: what all runs came to, in a database that can be asked and compared."""
