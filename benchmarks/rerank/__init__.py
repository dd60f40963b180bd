"""ColBERT's rerank: times and overlap of the codecs, nDCG that it brings, bytes that it takes."""
