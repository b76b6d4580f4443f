"""Vendors: the world's operations published as APIs in the style of RapidAPI."""

from toolserver.world.vendors.api import Health, VendorAnswer, VendorApi
from toolserver.world.vendors.registry import VendorRegistry
from toolserver.world.vendors.style import VendorStyle
from toolserver.world.vendors.vendor import VendorTool

__all__ = ["Health", "VendorAnswer", "VendorApi", "VendorRegistry", "VendorStyle", "VendorTool"]
