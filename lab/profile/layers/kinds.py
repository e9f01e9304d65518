# SPDX-License-Identifier: GPL-2.0-or-later
"""The kinds of layers that a profile can have: the lab's own, and those that packages bring.

A package's module of layers is imported while lab.profile.models is: it can import
lab.profile.layers.base, and nothing that needs profiles.
"""

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated

from lab import plugins
from lab.profile.fields import ByType, tag_of
from lab.profile.layers import OWN, BaseLayer

_BY_TYPE = plugins.classes(
    plugins.LAYERS, {tag_of(layer): layer for layer in OWN}, BaseLayer, tag_of, ("guest_class",)
)

if TYPE_CHECKING:
    Layer = BaseLayer
else:
    Layer = Annotated[reduce(or_, _BY_TYPE.values()), ByType()]
