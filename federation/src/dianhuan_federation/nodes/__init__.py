"""The nodes of a federation: witness, mirror and relay over HTTP, and the requests that they understand."""

from __future__ import annotations

from dianhuan_federation.nodes._pack import END, PACK_TYPE, PackEnd, PackReader, read_pack, write_pack

__all__ = ["END", "PACK_TYPE", "PackEnd", "PackReader", "read_pack", "write_pack"]
