"""Mutated messages for the node: made from good ones, sent in this process or over DDS, counted by what became of them.

mutate.py      any ROS message with some of its values replaced by odd ones
corpus.py      good messages of every kind the node takes
in_process.py  the node's own path from message to answer, without a node: a thousand messages a second
wire.py        a real node in a process of its own, over real DDS
stand_in.py    the model in both cases
"""
