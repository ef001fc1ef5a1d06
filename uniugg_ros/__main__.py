"""``python -m uniugg_ros``: the node, as the console script ``uniugg_node`` starts it."""

import sys

from .node import main

if __name__ == "__main__":
    sys.exit(main())
