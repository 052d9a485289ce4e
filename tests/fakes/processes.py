"""Processes that start in milliseconds: forks of one server that has imported what they need.

A process of one's own costs seconds of imports on a slow machine. The server is started once per
test process, and ends with it.
"""

import multiprocessing

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        "higgs_worker.voices.library",
        "higgs_worker.weights.hub",
        "higgs_worker.weights.locate",
        "higgs_worker.weights.pull",
        "httpcore2",
    ]
)
