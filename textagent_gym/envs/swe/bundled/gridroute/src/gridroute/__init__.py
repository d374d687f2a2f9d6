"""Grids of characters and the routes across them: maps, searches and the geometry of cells as pure functions."""

from gridroute import geometry, maps, search
from gridroute.geometry import Cell

__all__ = ["Cell", "geometry", "maps", "search"]
