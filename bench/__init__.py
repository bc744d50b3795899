"""Postlane measured beside Postfix + OpenDKIM, and looked at from inside. `make bench` runs it.

    run.py            rounds A B A B: accept and end-to-end rates, CPU, memory, ratios; writes results/
    latency.py        accept-to-delivered of transactional mail; 100,000 messages for a destination that does not answer
    stages.py         one message's way through Postlane: where do the microseconds go?

    peers.py          a private Postfix + OpenDKIM, tuned (postfix/*.in, published so that anyone can improve on it)
    postlane_node.py  a node of Postlane as in production
    load.py           the mail: smtp-source, a load of our own, and smtp-sink at the other end
    processes.py      start and stop by process id; CPU and memory of a process tree from /proc

Both systems get the same sender program, the same sink, the same key, the same file system, and fsync before 250.
"""
