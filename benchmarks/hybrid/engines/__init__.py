"""The engines, one a file; a peer's package is imported only when it is built or opened."""

from hybrid.engine import Peer
from hybrid.engines.exhaustive import Exhaustive
from hybrid.engines.ours import Ours

OURS = ("m3search flat", "m3search hnsw", "m3search ivf")

PEERS: dict[str, Peer] = {peer.name: peer for peer in (Ours("flat"), Ours("hnsw"), Ours("ivf"), Exhaustive())}
"""Every peer by name, in the order of the table."""

QUICK = (*OURS, "exhaustive")
LARGE = ("m3search hnsw", "m3search ivf")
"""Who takes part in a quick run, and where a collection is large, unless they are named."""

__all__ = ["LARGE", "OURS", "PEERS", "QUICK"]
