# SPDX-License-Identifier: GPL-2.0-or-later
"""Copies, offload paths, the oracle and the contract."""
