"""The three outputs of an M3 encoder, for people who come from FlagEmbedding."""

from m3search import Encoder, lexical_matching_score

encoder = Encoder.load("mini")  # "BAAI/bge-m3" is the quality choice, 2.3 GB from the hub
passages = encoder.encode(["A lock protects shared data from other threads.", "Sockets send bytes."], colbert=True)
query = encoder.encode(["how do threads share data"], query=True)

print(passages.dense.shape, passages.lexical.shape, [len(vectors) for vectors in passages.colbert])
print(passages.lexical_dict(0, tokens=True))
print("dense", (query.dense @ passages.dense.T).round(3).tolist())
print("lexical", [lexical_matching_score(query.lexical_dict(0), passages.lexical_dict(row)) for row in range(2)])
print(encoder.compute_score([("how do threads share data", "A lock protects shared data from other threads.")]))
