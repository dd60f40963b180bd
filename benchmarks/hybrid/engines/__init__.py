"""The engines, one a file; a peer's package is imported only when it is built or opened."""

from hybrid.engine import Peer
from hybrid.engines.by_hand import ByHand
from hybrid.engines.exhaustive import Exhaustive
from hybrid.engines.lance_db import LanceDB
from hybrid.engines.milvus_lite import MilvusLite
from hybrid.engines.ours import Ours
from hybrid.engines.qdrant_edge import QdrantEdge

OURS = ("m3search flat", "m3search hnsw", "m3search ivf")

PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        Ours("flat"),
        Ours("hnsw"),
        Ours("ivf"),
        ByHand(),
        ByHand("scipy"),
        QdrantEdge(),
        MilvusLite(),
        LanceDB(),
        Exhaustive(),
    )
}
"""Every peer by name, in the order of the table."""

QUICK = (*OURS, "FAISS + scipy", "exhaustive")
LARGE = ("m3search hnsw", "m3search ivf", "FAISS + impact-index")
OPTIONAL = ("FAISS + scipy",)
"""Takes part in quick runs, or when it is named."""

"""Who takes part in a quick run, and where a collection is large, unless they are named."""

__all__ = ["LARGE", "OPTIONAL", "OURS", "PEERS", "QUICK"]
