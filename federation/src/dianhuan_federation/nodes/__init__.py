"""The nodes of a federation: witness, mirror and relay over HTTP, and the requests that they understand."""

from __future__ import annotations

from dianhuan_federation.nodes._access import ACCESS_KIND, RECEIPT_KIND
from dianhuan_federation.nodes._app import Cosigner, NodeConfig, create_node, node_app
from dianhuan_federation.nodes._body import Limits
from dianhuan_federation.nodes._client import OtherSize, add_checkpoint, ask_witness, push, put_blob, witnessed
from dianhuan_federation.nodes._commands import nodes_app
from dianhuan_federation.nodes._copies import LogCopy
from dianhuan_federation.nodes._errors import NodeError
from dianhuan_federation.nodes._pack import END, PACK_TYPE, PackEnd, PackReader, read_pack, write_pack
from dianhuan_federation.nodes._service import HubTrust, begin_node, hub_node, hub_routes
from dianhuan_federation.nodes._signing import (
    Asker,
    RequestAuth,
    content_digest,
    new_nonce,
    sign_request,
    transport_keys,
    verify_request,
)
from dianhuan_federation.nodes._wire import is_subtree, origin_hash, subtree_proof

__all__ = [
    "ACCESS_KIND",
    "END",
    "PACK_TYPE",
    "RECEIPT_KIND",
    "Asker",
    "Cosigner",
    "HubTrust",
    "Limits",
    "LogCopy",
    "NodeConfig",
    "NodeError",
    "OtherSize",
    "PackEnd",
    "PackReader",
    "RequestAuth",
    "add_checkpoint",
    "ask_witness",
    "begin_node",
    "content_digest",
    "create_node",
    "hub_node",
    "hub_routes",
    "is_subtree",
    "new_nonce",
    "node_app",
    "nodes_app",
    "origin_hash",
    "push",
    "put_blob",
    "read_pack",
    "sign_request",
    "subtree_proof",
    "transport_keys",
    "verify_request",
    "witnessed",
    "write_pack",
]
