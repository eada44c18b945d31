"""Where systems and annotators run: in this process, or as copies on the machines of a cluster.

The driver alone asks, scores and writes; a copy only answers. Nothing here is imported by a local run.
"""
