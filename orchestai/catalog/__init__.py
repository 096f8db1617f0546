"""Task types and workers as described things: read, written, and priced."""

from __future__ import annotations

from orchestai.catalog.estimate import Estimate, estimate
from orchestai.catalog.store import CATALOG_FILE, ImportedCatalog, read_catalog, write_catalog

__all__ = ["CATALOG_FILE", "Estimate", "ImportedCatalog", "estimate", "read_catalog", "write_catalog"]
