"""Tables and units: rows that are read, grouped and aligned as text, and quantities that are converted exactly."""

from unitable import layout, quantities, rows
from unitable.quantities import Quantity

__all__ = ["Quantity", "layout", "quantities", "rows"]
