"""Vendors: the world's operations published as APIs, as RapidAPI does it."""

from toolserver.world.vendors.api import Health, VendorAnswer, VendorApi
from toolserver.world.vendors.market import Vendors
from toolserver.world.vendors.skin import Skin
from toolserver.world.vendors.tool import VendorTool

__all__ = ["Health", "Skin", "VendorAnswer", "VendorApi", "VendorTool", "Vendors"]
