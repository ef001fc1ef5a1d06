"""Everything before a model ships: data, three stages of training, evaluation. Never imported by the node."""
