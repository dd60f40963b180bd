"""The lexical benchmark, one noun a file.

    growing_array   an .npy file written piece by piece
    collection      documents as term weights, and queries
    generated       M3-like vectors of any size, by seed
    texts           titles and sentences of what lies on the machine
    bm25_texts      these texts as a collection of BM25 weights
    truth           exact scores, and recall that counts ties
    engine          what an engine has to do, and the result of building one
    engines/        ours and the peers, one a file
    store           built indexes kept between runs
    measurement     times and recall of all engines over one collection
    opening         a fresh process: how long opening and the first query take
    targets         ratios against what the lexical leg was asked to reach
    report, plot    the table and the figure
    command         the command line

Imports m3search by its public names and its legs; m3search knows nothing of this.
"""
