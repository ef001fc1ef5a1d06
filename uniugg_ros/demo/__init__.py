"""``uniugg demo``: the node as its own process on a recorded bag, and what a person needs to judge the result.

Read in this order: `command` (how it hangs together), `tour` (what is asked), `client` (how), `play` and `record`
(bags on real topics), `report` (what is left behind).
"""
