# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest is made of: models, YAML loading, JSON schema."""
