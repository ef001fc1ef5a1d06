"""The subcommands of ``uniugg`` that need neither ROS nor training; one module each, found through entry points."""
