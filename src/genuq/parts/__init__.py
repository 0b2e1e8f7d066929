"""Parts: what a configuration can name, each declared once; registers of them; and how users' own come in."""

from genuq.parts.entry_points import Broken, installed
from genuq.parts.groups import GROUPS, plugged, register_of
from genuq.parts.identity import identity
from genuq.parts.options import options_of
from genuq.parts.part import Part
from genuq.parts.register import Register

__all__ = ["GROUPS", "Broken", "Part", "Register", "identity", "installed", "options_of", "plugged", "register_of"]
