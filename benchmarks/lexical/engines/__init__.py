"""The engines, one a file; a peer's package is imported only when it is built or opened."""

from lexical.engine import Peer
from lexical.engines.bm25s import BM25s
from lexical.engines.bmp import BMP
from lexical.engines.impact_index import ImpactIndex
from lexical.engines.ours import Ours
from lexical.engines.scipy_rows import ScipyRows
from lexical.engines.seismic import Seismic

PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (Ours(), ScipyRows(), ImpactIndex(), ImpactIndex(reordered=True), BMP(), BM25s(), Seismic())
}
"""Every peer by name, in the order of the table."""

OPTIONAL = ("impact-index-reordered",)
"""Take part only when they are named."""

SLOW = ("seismic",)
"""So slow to build that a quick run leaves them out unless they are named: a minute, however small the collection."""

__all__ = ["OPTIONAL", "PEERS", "SLOW"]
