"""The hybrid benchmark, one noun a file.

    collection      vectors and term weights of the same documents, queries, and how much of the true blend an answer holds
    truth           the true blend by brute force in f64
    world           generated documents whose vectors and weights are about the same topics
    topic_vectors   their dense half, of any width
    encoded         real short texts, encoded by the embedded encoder
    engine          what an engine has to do, and the result of opening one
    engines/        ours, exhaustive search, a stack by hand, and the peers, one a file
    store           built indexes kept between runs
    frontier        which of many settings are worth timing
    measurement     overlap and times of all engines over one collection
    memory          what an open engine takes, in a process of its own
    targets         ratios against what the planner was asked to reach
    report, plot    the tables and the figure
    brief           the table that docs/planner.md shows
    command         the command line

Takes the readers of texts, the lexical half of the generator and small things from the benchmark `lexical`. Imports m3search by
its public names; m3search knows nothing of this.
"""
