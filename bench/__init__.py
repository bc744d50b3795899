"""Postlane measured beside Postfix + OpenDKIM, and looked at from inside. `make bench` runs it.

    run.py            rounds A B A B: accept and end-to-end rates, CPU, memory, ratios; writes results/
    scaling.py        one worker and two; apps with few connections
    latency.py        accept-to-delivered of transactional mail; 100,000 messages for a destination that does not answer
    stages.py         one message's way through Postlane: where do the microseconds go?
    pace.py           pace per site over time against a simulated provider; a picture

    tune.py           is that Postfix as fast as it gets?

    rig.py            one system with its sink, fresh in a directory; a load sent through it
    peers.py          a private Postfix + OpenDKIM, tuned (postfix/*.in, published so that anyone can improve on it)
    postlane_node.py  a node of Postlane as in production
    load.py           the mail: smtp-source, varied.py, and smtp-sink at the other end
    names.py          a DNS server for mail that goes by MX
    processes.py      start and stop by process id; CPU and memory of a process tree from /proc

Both systems get the same sender program, the same sink, the same key, the same file system, and fsync before 250.
"""
