"""Throughput and peak memory of encoding on a GPU, beside FlagEmbedding, by length of the texts.

    python benchmarks/gpu_encode.py            # a model in BGE-M3's shape with random weights; 2.5 GB of disk under --cache
    python benchmarks/gpu_encode.py --quick    # a small model

Without a GPU it says so and ends without an error. FlagEmbedding is measured where it is installed.
"""

from gpu_encode.command import main

if __name__ == "__main__":
    main()
