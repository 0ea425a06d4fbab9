"""Packages: credits for sale, at a price in euro cents.  `python -m domain.packages` manages them."""

from domain.packages.manage import (
    CREDITS_MAX,
    PRICE_EURO_CENTS_MAX,
    PRICE_EURO_CENTS_MIN,
    SORT_ORDER_MAX,
    Changes,
    NewPackage,
    change,
    create,
    deactivate,
    seed,
)
from domain.packages.shelf import Package, active_packages, all_packages, for_sale

__all__ = [
    "CREDITS_MAX",
    "PRICE_EURO_CENTS_MAX",
    "PRICE_EURO_CENTS_MIN",
    "SORT_ORDER_MAX",
    "Changes",
    "NewPackage",
    "Package",
    "active_packages",
    "all_packages",
    "change",
    "create",
    "deactivate",
    "for_sale",
    "seed",
]
