"""Vendors: the world's operations published as APIs, as RapidAPI does it."""

from toolserver.world.vendors.api import Health, VendorAnswer, VendorApi
from toolserver.world.vendors.registry import Vendors
from toolserver.world.vendors.style import Skin
from toolserver.world.vendors.vendor import VendorTool

__all__ = ["Health", "Skin", "VendorAnswer", "VendorApi", "VendorTool", "Vendors"]
