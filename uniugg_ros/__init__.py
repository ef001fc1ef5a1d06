"""The ROS 2 node around :mod:`uniugg_core`: topics, services, actions, frames, lifecycle. Wires; computes nothing.

Read in this order: `names` and `parameters` (what a user can see and set), `node` (how it hangs together), `tasks`
(one request from message to answer), `worker` (where the model runs).
"""
